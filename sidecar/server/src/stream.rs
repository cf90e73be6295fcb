//! A client's connection, over which descriptors may go beside bytes.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustix::io::{Errno, retry_on_intr};
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
/// it gave.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: Arc<UnixStream>,
    /// What the kernel was asked; nothing before the first read, and when it is to be asked something else.
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
        if !self.is_asked() {
            // One descriptor is watched in one way at a time.
            self.asked = None;
            let interest =
                if self.lacks_room { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
            self.asked = Some(watch(&self.socket, interest)?);
            self.is_asked_for_room = self.lacks_room;
        }
        self.asked.as_ref().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Whether the kernel was asked for what is wanted now.
    fn is_asked(&self) -> bool {
        self.asked.is_some() && self.is_asked_for_room == self.lacks_room
    }

    /// Sends with `send` when there is room.
    fn poll_send<T>(
        &mut self,
        context: &mut Context<'_>,
        mut send: impl FnMut(&UnixStream) -> rustix::io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            match retry_on_intr(|| send(&self.socket)) {
                Ok(sent) => {
                    self.lacks_room = false;
                    return Poll::Ready(Ok(sent));
                }
                Err(Errno::AGAIN) => {}
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

/// Reads once.
fn receive(socket: &UnixStream, into: &mut ReadBuf<'_>) -> Result<usize, Errno> {
    let room = into.initialize_unfilled();
    let (_, count) = retry_on_intr(|| recv(socket, &mut *room, RecvFlags::empty()))?;
    into.advance(count);
    Ok(count)
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.is_asked() {
            // What lies there already would be told of at the next look at all sockets. What comes after it is, so that who
            // goes on talking has no more than this one turn before the others.
            let received = receive(&self.socket, into);
            self.asked()?;
            match received {
                Err(Errno::AGAIN) => {}
                received => return Poll::Ready(Ok(received.map(drop)?)),
            }
        }
        loop {
            let mut ready = ready!(self.asked()?.poll_read_ready(context))?;
            let room = into.remaining();
            match receive(ready.get_inner(), into) {
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(error) => return Poll::Ready(Err(error.into())),
                Ok(count) => {
                    if count < room {
                        // That was all; what comes now is told of.
                        ready.clear_ready();
                    }
                    return Poll::Ready(Ok(()));
                }
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
        let sent = retry_on_intr(|| send(&self.socket, bytes, SendFlags::NOSIGNAL))?;
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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::{Read, Write};
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::task::yield_now;
    use tokio::time::timeout;

    use super::*;

    /// Longer than anything here takes.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// More than a socket takes while nobody reads.
    const MUCH: usize = 4 << 20;

    fn pair() -> (UnixStream, Connection) {
        let (near, far) = UnixStream::pair().unwrap();
        far.set_nonblocking(true).unwrap();
        let accepted = tokio::net::UnixStream::from_std(far).unwrap();
        (near, Connection::new(accepted).unwrap())
    }

    /// Whether a read waits.
    async fn waits(connection: &mut Connection) -> bool {
        let mut room = [0];
        let mut read = ReadBuf::new(&mut room);
        poll_fn(|cx| Poll::Ready(Pin::new(&mut *connection).poll_read(cx, &mut read).is_pending())).await
    }

    async fn soon<T>(what: impl Future<Output = io::Result<T>>) -> T {
        timeout(PATIENCE, what).await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn what_comes_is_read_and_the_end_is_seen() {
        let (mut client, mut connection) = pair();
        let mut read = [0; 3];
        for part in [b"one", b"two"] {
            client.write_all(part).unwrap();
            assert_eq!((soon(connection.read(&mut read)).await, &read), (3, part));
        }
        // The second part is waited for: the first read was short, or took all.
        let mut wide = [0; 64];
        client.write_all(b"abc").unwrap();
        assert_eq!(soon(connection.read(&mut wide)).await, 3);
        let waiting = tokio::spawn(async move { (connection.read(&mut wide).await, connection) });
        yield_now().await;
        client.write_all(b"d").unwrap();
        let (read, mut connection) = timeout(PATIENCE, waiting).await.unwrap().unwrap();
        assert_eq!(read.unwrap(), 1);
        client.write_all(b"last").unwrap();
        drop(client);
        assert_eq!((soon(connection.read(&mut wide)).await, soon(connection.read(&mut wide)).await), (4, 0));
    }

    #[tokio::test]
    async fn who_goes_on_talking_waits_until_all_sockets_were_looked_at() {
        let (mut client, mut connection) = pair();
        client.write_all(b"first").unwrap();
        let mut room = [0; 64];
        assert_eq!(soon(connection.read(&mut room)).await, 5);
        for _ in 0..3 {
            client.write_all(b"more").unwrap();
            assert!(waits(&mut connection).await, "nobody else has had a turn");
            assert_eq!(soon(connection.read(&mut room)).await, 4);
        }
    }

    #[tokio::test]
    async fn the_kernel_is_asked_for_room_only_while_it_lacks() {
        let (mut client, mut connection) = pair();
        client.write_all(b"a").unwrap();
        assert_eq!(soon(connection.read_u8()).await, b'a');
        soon(connection.write_all(b"answer")).await;
        assert!(waits(&mut connection).await && !connection.is_asked_for_room);

        let (mut first, sent) = ([0; 6], vec![7; MUCH]);
        client.read_exact(&mut first).unwrap();
        let reader = std::thread::spawn(move || {
            let mut received = vec![0; MUCH];
            client.read_exact(&mut received).map(|()| (client, received))
        });
        soon(connection.write_all(&sent)).await;
        assert!(connection.is_asked_for_room && !connection.lacks_room);
        let (mut client, received) = reader.join().unwrap().unwrap();
        assert!(received == sent);
        assert!(waits(&mut connection).await && !connection.is_asked_for_room);
        client.write_all(b"b").unwrap();
        assert_eq!(soon(connection.read_u8()).await, b'b');
    }

    #[tokio::test]
    async fn a_read_that_waits_is_woken_though_a_write_began_to_wait_after_it() {
        let (mut client, mut connection) = pair();
        let sent = vec![7; MUCH];
        let both = tokio::spawn(async move {
            let (mut written, mut byte) = (0, [0]);
            poll_fn(|cx| {
                // The order in which a session asks.
                let mut read = ReadBuf::new(&mut byte);
                if Pin::new(&mut connection).poll_read(cx, &mut read).is_ready() {
                    return Poll::Ready(written);
                }
                while let Poll::Ready(count) = Pin::new(&mut connection).poll_write(cx, &sent[written..]) {
                    written += count.unwrap();
                }
                Poll::Pending
            })
            .await
        });
        // It runs until it waits for both: this is the only thread, and nobody else has anything to do.
        for _ in 0..100 {
            yield_now().await;
        }
        client.write_all(b"!").unwrap();
        let written = timeout(PATIENCE, both).await.unwrap().unwrap();
        assert!(written < MUCH, "all of it fits into the socket: nothing was waited for");
    }

    #[tokio::test]
    async fn who_does_not_read_is_told_to_wait_and_who_left_is_an_error() {
        let (client, mut connection) = pair();
        let bytes = vec![7; MUCH];
        assert!(connection.send_now(&bytes).unwrap() < MUCH);
        while connection.send_now(b"1").is_ok() {}
        assert_eq!(connection.send_now(b"1").unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(client);
        assert_eq!(connection.send_now(b"1").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert!(timeout(PATIENCE, connection.write_all(b"1")).await.unwrap().is_err());
    }
}
