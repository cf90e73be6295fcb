//! Synapse frames: cut anywhere, looked at where they lie, and written again by the client's half.

use bytes::{Buf, BytesMut};
use synapse_protocol::frame::client::{self, Answered, answered};
use synapse_protocol::frame::{Answer, Request, TooLarge, answer, decode, look};
use synapse_protocol::plain::{Look, Plain};

type Decoded = (Vec<Request>, Result<(), TooLarge>);

/// Takes `data` for what a client says, and for what a server answers.
pub(crate) fn run(data: &[u8]) {
    let whole = decoded(&mut [data].into_iter());
    let piece = 1 + data.len() % 11;
    assert_eq!(decoded(&mut data.chunks(piece)), whole, "in pieces of {piece}");
    agree(data);
    write_again(data, &whole.0);
    answers(data);
}

fn decoded(pieces: &mut dyn Iterator<Item = &[u8]>) -> Decoded {
    let (mut input, mut requests) = (BytesMut::new(), Vec::new());
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            match decode(&mut input) {
                Ok(Some(request)) => requests.push(request),
                Ok(None) => break,
                Err(error) => return (requests, Err(error)),
            }
        }
    }
    (requests, Ok(()))
}

/// A look says the same as the decoder, at the beginning of each frame.
fn agree(data: &[u8]) {
    let mut input = BytesMut::from(data);
    loop {
        let before = input.clone();
        let next = decode(&mut input);
        let taken = before.len() - input.len();
        let seen = look(&before);
        match next {
            Ok(Some(Request::Get { key })) => assert_eq!(seen, Look::Whole(Plain::Get(&key), taken)),
            Ok(Some(Request::Set { key, value, ttl_seconds: 0 })) => {
                assert_eq!(seen, Look::Whole(Plain::Set(&key, &value), taken));
            }
            Ok(Some(_)) => assert_eq!(seen, Look::Other),
            Ok(None) => {
                // As many bytes as it says are missing at least: with one less there is still nothing.
                let Look::Part(missing) = seen else {
                    assert_eq!(seen, Look::Other);
                    return;
                };
                assert!(missing > 0);
                if missing < 1 << 16 {
                    let mut longer = before;
                    longer.resize(longer.len() + missing - 1, 0);
                    assert_eq!(decode(&mut longer), Ok(None));
                }
                return;
            }
            Err(_) => {
                assert_eq!(seen, Look::Other);
                return;
            }
        }
    }
}

/// What a client writes for a request is, byte for byte, what was read as one.
fn write_again(data: &[u8], requests: &[Request]) {
    let mut rest = data;
    for request in requests {
        let mut out = BytesMut::new();
        match request {
            Request::Get { key } => client::get(&mut out, key),
            Request::Set { key, value, ttl_seconds } => client::set(&mut out, key, value, *ttl_seconds),
            Request::Map => {
                client::map(&mut out);
                Ok(())
            }
            Request::Served { hits, sample } => {
                let sample: Vec<_> = sample.iter().map(|key| key.to_vec()).collect();
                client::served(&mut out, *hits, &sample)
            }
            Request::Refused(_) => {
                let length = rest.first_chunk().map_or(0, |prefix| u32::from_be_bytes(*prefix) as usize);
                out.extend_from_slice(&rest[..4 + length]);
                Ok(())
            }
        }
        .expect("it came in a frame");
        rest = rest.strip_prefix(&out[..]).expect("the same bytes");
    }
}

fn answers(data: &[u8]) {
    let mut rest = data;
    while let Ok(Some((said, length))) = answered(rest) {
        let mut out = BytesMut::new();
        match said {
            Answered::Ok => answer(&mut out, Answer::Ok),
            Answered::Hit(value) => answer(&mut out, Answer::Hit(value)),
            Answered::Miss => answer(&mut out, Answer::Miss),
            Answered::Err(why) => match std::str::from_utf8(why) {
                Ok(why) => answer(&mut out, Answer::Err(why)),
                Err(_) => out.extend_from_slice(&rest[..length]),
            },
        }
        assert_eq!(out, rest[..length]);
        assert_eq!(answered(&rest[..length - 1]), Ok(None));
        rest.advance(length);
    }
}
