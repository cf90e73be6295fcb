//! A descriptor handed over a connection, beside the bytes of its answer.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, send, sendmsg};
use tokio::io::{AsyncRead, AsyncWrite, Interest};
use tokio::net::UnixStream;

/// A connection over which descriptors may go.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + Sync {
    /// Sends as many of `bytes` as the connection takes at once.
    ///
    /// # Errors
    /// `WouldBlock` when it takes none now, and when the connection breaks.
    fn send_now(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Sends `bytes`, a few of them, and `descriptor` with them.
    ///
    /// # Errors
    /// When the connection breaks.
    fn hand_over(
        &self,
        bytes: &[u8],
        descriptor: BorrowedFd<'_>,
    ) -> impl Future<Output = io::Result<()>> + Send;
}

impl Stream for UnixStream {
    fn send_now(&self, bytes: &[u8]) -> io::Result<usize> {
        self.try_io(Interest::WRITABLE, || Ok(send(self, bytes, SendFlags::NOSIGNAL)?))
    }

    async fn hand_over(&self, bytes: &[u8], descriptor: BorrowedFd<'_>) -> io::Result<()> {
        let sent = self.async_io(Interest::WRITABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let (mut beside, rights) = (SendAncillaryBuffer::new(&mut space), [descriptor]);
            beside.push(SendAncillaryMessage::ScmRights(&rights));
            Ok(sendmsg(self, &[IoSlice::new(bytes)], &mut beside, SendFlags::NOSIGNAL)?)
        });
        // A stream socket takes a few bytes whole or not at all.
        if sent.await? == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }
}

#[cfg(test)]
impl Stream for tokio::io::DuplexStream {
    fn send_now(&self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    async fn hand_over(&self, _: &[u8], _: BorrowedFd<'_>) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
