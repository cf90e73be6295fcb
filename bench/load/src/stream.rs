//! A connection's stream, over a Unix socket or TCP.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::PathBuf;
use std::time::Duration;

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};

/// How long a server may take to accept a TCP connection.
const ACCEPT: Duration = Duration::from_secs(10);

/// Where a server listens.
#[derive(Debug, Clone)]
pub(crate) enum Address {
    /// A Unix socket.
    Unix(PathBuf),
    /// TCP.
    Tcp(SocketAddr),
}

/// A stream that does not block.
#[derive(Debug)]
pub(crate) enum Stream {
    /// Over a Unix socket.
    Unix(UnixStream),
    /// Over TCP.
    Tcp(TcpStream),
}

/// What the kernel is to tell of a stream: what comes, and room to write while it lacks.
#[derive(Debug)]
pub(crate) struct Watch {
    token: Token,
    /// Whether it tells of room.
    room: bool,
}

// === impl Watch ===

impl Watch {
    /// The kernel tells of what comes from now on. Most clients ask for no more: a Unix socket has room for others each
    /// time when somebody reads, and who asks for that is woken for every request that the server takes.
    ///
    /// # Errors
    /// When the kernel does not.
    pub(crate) fn begin(registry: &Registry, token: Token, stream: &mut impl Source) -> io::Result<Self> {
        registry.register(stream, token, Interest::READABLE)?;
        Ok(Self { token, room: false })
    }

    /// The kernel tells of room as well if it lacks, and no more when it does not.
    ///
    /// # Errors
    /// When the kernel does not.
    pub(crate) fn room(
        &mut self,
        registry: &Registry,
        stream: &mut impl Source,
        lacks: bool,
    ) -> io::Result<()> {
        if std::mem::replace(&mut self.room, lacks) == lacks {
            return Ok(());
        }
        let interest = if lacks { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        registry.reregister(stream, self.token, interest)
    }
}

// === impl Address ===

impl Address {
    /// Connects, and waits until that is done.
    ///
    /// # Errors
    /// When nobody accepts.
    pub(crate) fn connect(&self) -> io::Result<Stream> {
        match self {
            Self::Unix(path) => {
                let stream = StdUnixStream::connect(path)?;
                stream.set_nonblocking(true)?;
                Ok(Stream::Unix(UnixStream::from_std(stream)))
            }
            Self::Tcp(address) => {
                let stream = std::net::TcpStream::connect_timeout(address, ACCEPT)?;
                stream.set_nonblocking(true)?;
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(TcpStream::from_std(stream)))
            }
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(out, "{}", path.display()),
            Self::Tcp(address) => write!(out, "{address}"),
        }
    }
}

// === impl Stream ===

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.read(buffer),
            Self::Tcp(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.write(bytes),
            Self::Tcp(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Source for Stream {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.register(registry, token, interests),
            Self::Tcp(stream) => stream.register(registry, token, interests),
        }
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.reregister(registry, token, interests),
            Self::Tcp(stream) => stream.reregister(registry, token, interests),
        }
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.deregister(registry),
            Self::Tcp(stream) => stream.deregister(registry),
        }
    }
}
