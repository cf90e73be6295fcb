//! HTTP requests: cut anywhere, and never understood in two ways.

use bytes::BytesMut;
use synapse_protocol::detect::detect;
use synapse_protocol::http::head::HttpError;
use synapse_protocol::http::request::{Decoder, Request, Step};
use synapse_protocol::http::target;

/// So many prefixes are asked for their protocol.
const PREFIXES: usize = 64;

type Decoded = (Vec<Request>, Result<(), HttpError>);

/// Takes `data` for what a client says.
pub(crate) fn run(data: &[u8]) {
    let whole = decoded(Decoder::default(), &mut [data].into_iter());
    let piece = 1 + data.len() % 11;
    assert_eq!(decoded(Decoder::default(), &mut data.chunks(piece)), whole, "in pieces of {piece}");
    for request in &whole.0 {
        assert_eq!(request.body.len(), request.head.content_length);
        let (path, query) = target::split(&request.head.target);
        assert!(path.len() + query.map_or(0, |query| query.len() + 1) <= request.head.target.len());
        let _ = target::percent_decode(path);
        assert!(target::parameters(query, "ttl").all(|value| query.unwrap_or_default().contains(value)));
    }
    // A door that wants no bodies says the same about everything else.
    let (without, _) = decoded(Decoder::without_bodies(), &mut [data].into_iter());
    assert!(without.len() <= whole.0.len() && without.iter().all(|request| request.body.is_empty()));
    assert_eq!(without[..], whole.0[..without.len()]);
    // Which protocol it is does not change with what comes later.
    let wire = detect(data);
    for end in 0..data.len().min(PREFIXES) {
        let early = detect(&data[..end]);
        assert!(early.is_none() || early == wire, "{early:?} after {end} bytes, then {wire:?}");
    }
}

fn decoded(mut decoder: Decoder, pieces: &mut dyn Iterator<Item = &[u8]>) -> Decoded {
    let (mut input, mut requests) = (BytesMut::new(), Vec::new());
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut input) {
                Ok(Step::Request(request)) => requests.push(request),
                Ok(Step::Continue) => {}
                Ok(Step::Incomplete) => break,
                Err(error) => return (requests, Err(error)),
            }
        }
    }
    (requests, Ok(()))
}
