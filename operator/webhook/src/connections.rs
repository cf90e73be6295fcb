//! How many connections may be open: in all, and from one address.

use std::collections::HashMap;
use std::future::{Ready, ready};
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum_server::accept::Accept;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Connections in all. API servers keep one or two each.
const MOST: usize = 64;
/// Connections of one address, so that no pod can take all of them.
pub(crate) const MOST_OF_ONE: usize = 32;

/// Lets connections in as long as there are few.
#[derive(Clone, Debug, Default)]
pub(crate) struct Few {
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// A connection that is counted until it is dropped.
#[derive(Debug)]
pub(crate) struct Counted {
    stream: TcpStream,
    _place: Place,
}

#[derive(Debug)]
struct Place {
    few: Few,
    address: IpAddr,
}

// === impl Few ===

impl Few {
    fn place(&self, address: IpAddr) -> Option<Place> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.values().sum::<usize>() >= MOST {
            return None;
        }
        let of_address = open.entry(address).or_default();
        if *of_address >= MOST_OF_ONE {
            return None;
        }
        *of_address += 1;
        Some(Place { few: self.clone(), address })
    }
}

impl<S> Accept<TcpStream, S> for Few {
    type Stream = Counted;
    type Service = S;
    type Future = Ready<io::Result<(Counted, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let place = stream.peer_addr().map(|peer| self.place(peer.ip().to_canonical()));
        ready(match place {
            Ok(Some(place)) => Ok((Counted { stream, _place: place }, service)),
            Ok(None) => Err(io::Error::other("too many connections")),
            Err(error) => Err(error),
        })
    }
}

// === impl Place ===

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.few.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

// === impl Counted ===

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_cannot_take_every_place() {
        let few = Few::default();
        let address = |last| IpAddr::from([10, 0, 0, last]);
        let mut first: Vec<_> = (0..MOST).filter_map(|_| few.place(address(1))).collect();
        assert_eq!(first.len(), MOST_OF_ONE);
        let others: Vec<_> = (2..20)
            .flat_map(|last| (0..MOST_OF_ONE).map(move |_| last))
            .filter_map(|last| few.place(address(last)))
            .collect();
        assert_eq!(first.len() + others.len(), MOST);
        first.pop();
        assert!(few.place(address(1)).is_some());
        drop((first, others));
        assert!(few.open.lock().unwrap().is_empty());
    }
}
