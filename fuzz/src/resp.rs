//! RESP: however a stream is cut, the same commands come out, with and without the short way for plain requests.

use bytes::{Buf, Bytes, BytesMut};
use synapse_protocol::batch::Batch;
use synapse_protocol::plain::{Look, Plain};
use synapse_protocol::resp::plain::look;
use synapse_protocol::resp::request::{Decoder, RequestError};

/// So many prefixes are looked at one by one.
const PREFIXES: usize = 96;

type Decoded = (Vec<Vec<Bytes>>, Result<(), RequestError>);

/// Takes `data` for what a client says.
pub(crate) fn run(data: &[u8]) {
    let piece = 1 + data.len() % 11;
    let whole = decoded(&mut [data].into_iter());
    assert_eq!(decoded(&mut data.chunks(piece)), whole, "in pieces of {piece}");
    for piece in [piece, data.len().max(1)] {
        assert_eq!(as_a_session(&mut data.chunks(piece)), whole, "by a session, in pieces of {piece}");
    }
    for end in 0..=data.len().min(PREFIXES) {
        agree(&data[..end], data);
    }
    agree(data, data);
}

/// All commands, and how it ended, by the decoder alone.
fn decoded(pieces: &mut dyn Iterator<Item = &[u8]>) -> Decoded {
    let (mut decoder, mut input, mut batch) = (Decoder::default(), BytesMut::new(), Batch::default());
    for piece in pieces {
        input.extend_from_slice(piece);
        if let Err(error) = decoder.decode(&mut input, &mut batch) {
            return (batch.iter().map(<[Bytes]>::to_vec).collect(), Err(error));
        }
    }
    (batch.iter().map(<[Bytes]>::to_vec).collect(), Ok(()))
}

/// The same as a session does it: plain requests where they lie, everything else by the decoder.
fn as_a_session(pieces: &mut dyn Iterator<Item = &[u8]>) -> Decoded {
    let (mut decoder, mut input, mut batch) = (Decoder::default(), BytesMut::new(), Batch::default());
    let mut commands: Vec<Vec<Bytes>> = Vec::new();
    for piece in pieces {
        input.extend_from_slice(piece);
        let held = input.len();
        let is_over = loop {
            match look(&input) {
                Look::Whole(plain, length) => {
                    commands.push(command(plain, &input));
                    input.advance(length);
                }
                Look::Part(_) => break true,
                Look::Other => break false,
            }
        };
        if is_over || input.len() < held {
            decoder.reset();
        }
        if is_over {
            continue;
        }
        let outcome = decoder.decode(&mut input, &mut batch);
        commands.extend(batch.iter().map(<[Bytes]>::to_vec));
        batch.clear();
        if outcome.is_err() {
            return (commands, outcome);
        }
    }
    (commands, Ok(()))
}

/// As the decoder has it; the name stands at the same place in both.
fn command(plain: Plain<'_>, input: &[u8]) -> Vec<Bytes> {
    let name = Bytes::copy_from_slice(&input[8..11]);
    match plain {
        Plain::Get(key) => vec![name, Bytes::copy_from_slice(key)],
        Plain::Set(key, value) => vec![name, Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)],
    }
}

/// What a look at a prefix says is what the decoder finds there.
fn agree(prefix: &[u8], data: &[u8]) {
    let (commands, outcome) = decoded(&mut [prefix].into_iter());
    match look(prefix) {
        Look::Whole(plain, length) => {
            assert_eq!(commands.first(), Some(&command(plain, prefix)));
            assert_eq!(decoded(&mut [&prefix[..length]].into_iter()).0.len(), 1);
            assert!(decoded(&mut [&prefix[..length - 1]].into_iter()).0.is_empty());
        }
        Look::Part(missing) => {
            assert!(missing > 0 && commands.is_empty() && outcome.is_ok(), "{commands:?} {outcome:?}");
            let before = data.get(..prefix.len() + missing - 1).map(look);
            assert!(!matches!(before, Some(Look::Whole(..))), "whole before the {missing} bytes came");
        }
        // What was left to the decoder once is left to it until it has read it.
        Look::Other => assert_eq!(look(data), Look::Other),
    }
}
