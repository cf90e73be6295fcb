//! A client's connection, over which descriptors may go beside bytes.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustix::net::{RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recv, send, sendmsg};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

/// A connection over which descriptors may go.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + Sync {
    /// Sends as many of `bytes` as the connection takes at once.
    ///
    /// # Errors
    /// `WouldBlock` when it takes none now, and when the connection breaks.
    fn send_now(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Sends `bytes`, a few of them, and `descriptor` with them; pending while the connection takes none.
    ///
    /// # Errors
    /// When the connection breaks.
    fn poll_hand_over(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
        descriptor: BorrowedFd<'_>,
    ) -> Poll<io::Result<()>>;
}

/// A connection through a Unix socket.
///
/// The kernel is asked to tell when there is something to read, and when there is room to write only while it lacks: a Unix
/// socket tells of room each time when the other side has read something. Who asks always is woken by every answer that
/// it gave, which at 30,000 requests a second costs a fifth of the CPU.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: Arc<UnixStream>,
    /// What the kernel was asked; nothing before the first wait, and when it is to be asked something else.
    asked: Option<AsyncFd<Arc<UnixStream>>>,
    /// Whether a write waits for room.
    lacks_room: bool,
    /// Whether the kernel was asked for room, too.
    is_asked_for_room: bool,
}

// === impl Connection ===

impl Connection {
    /// A connection that was just accepted.
    ///
    /// # Errors
    /// When the kernel was asked about it and does not let go of it.
    pub(crate) fn new(accepted: tokio::net::UnixStream) -> io::Result<Self> {
        let socket = Arc::new(accepted.into_std()?);
        Ok(Self { socket, asked: None, lacks_room: false, is_asked_for_room: false })
    }

    /// Where to wait for what is wanted now.
    fn asked(&mut self) -> io::Result<&AsyncFd<Arc<UnixStream>>> {
        if self.is_asked_for_room != self.lacks_room {
            // One descriptor is watched in one way at a time.
            self.asked = None;
        }
        if self.asked.is_none() {
            let interest =
                if self.lacks_room { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
            self.asked = Some(watch(&self.socket, interest)?);
            self.is_asked_for_room = self.lacks_room;
        }
        self.asked.as_ref().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Sends with `send` when there is room.
    fn poll_send<T>(
        &mut self,
        context: &mut Context<'_>,
        mut send: impl FnMut(&UnixStream) -> rustix::io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            match send(&self.socket) {
                Ok(sent) => {
                    self.lacks_room = false;
                    return Poll::Ready(Ok(sent));
                }
                Err(error) if error == rustix::io::Errno::AGAIN => {}
                Err(error) if error == rustix::io::Errno::INTR => continue,
                Err(error) => return Poll::Ready(Err(error.into())),
            }
            self.lacks_room = true;
            if !self.is_asked_for_room {
                // A read of the same task that waits was entered with what the kernel is no longer asked: it is polled again.
                context.waker().wake_by_ref();
            }
            ready!(self.asked()?.poll_write_ready(context))?.clear_ready();
        }
    }
}

/// Asks the kernel to tell of `interest`.
#[expect(
    deprecated,
    reason = "for types that close their descriptor early, or name another; a UnixStream does neither"
)]
fn watch(socket: &Arc<UnixStream>, interest: Interest) -> io::Result<AsyncFd<Arc<UnixStream>>> {
    AsyncFd::with_interest(Arc::clone(socket), interest)
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.asked()?.poll_read_ready(context))?;
            let room = into.initialize_unfilled();
            let most = room.len();
            match recv(ready.get_inner(), room, RecvFlags::empty()) {
                Ok((_, read)) => {
                    if read < most {
                        // That was all; what comes now is told of.
                        ready.clear_ready();
                    }
                    into.advance(read);
                    return Poll::Ready(Ok(()));
                }
                Err(rustix::io::Errno::AGAIN) => ready.clear_ready(),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(context, |socket| send(socket, bytes, SendFlags::NOSIGNAL))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(context, |socket| {
            sendmsg(socket, pieces, &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL)
        })
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.socket.shutdown(Shutdown::Write))
    }
}

impl Stream for Connection {
    fn send_now(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = send(&self.socket, bytes, SendFlags::NOSIGNAL)?;
        self.lacks_room &= sent < bytes.len();
        Ok(sent)
    }

    fn poll_hand_over(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
        descriptor: BorrowedFd<'_>,
    ) -> Poll<io::Result<()>> {
        let sent = ready!(self.poll_send(context, |socket| {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let (mut beside, rights) = (SendAncillaryBuffer::new(&mut space), [descriptor]);
            beside.push(SendAncillaryMessage::ScmRights(&rights));
            sendmsg(socket, &[IoSlice::new(bytes)], &mut beside, SendFlags::NOSIGNAL)
        }))?;
        // A stream socket takes a few bytes whole or not at all.
        Poll::Ready(if sent == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) })
    }
}

#[cfg(test)]
impl Stream for tokio::io::DuplexStream {
    fn send_now(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn poll_hand_over(&mut self, _: &mut Context<'_>, _: &[u8], _: BorrowedFd<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::ErrorKind::Unsupported.into()))
    }
}
