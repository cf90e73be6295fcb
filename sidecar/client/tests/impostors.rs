//! A reader before something that is no good sidecar: it says so, and goes on with the next that is one.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use synapse_client::connection::{Connection, Error};
use synapse_client::shared::SharedReader;

const GET_K: &[u8] = b"\0\0\0\x06\x01\x01\0\0\0k";
const MAP: &[u8] = b"\0\0\0\x01\x03";
const OK: &[u8] = b"\0\0\0\x01\0";
const MISS: &[u8] = b"\0\0\0\x01\x02";
const ADA: &[u8] = b"\0\0\0\x08\x01\x03\0\0\0Ada";
const REFUSED: &[u8] = b"\0\0\0\x07\x03\x02\0\0\0no";
const TIMEOUT: Duration = Duration::from_secs(5);

/// What is done with one connection.
type Scene = Box<dyn FnOnce(UnixStream) + Send>;

/// Somebody at a socket who plays these scenes, one for each connection, and who must have played them all at the end.
fn stage(scenes: Vec<Scene>, then: impl FnOnce(&std::path::Path)) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            for scene in scenes {
                let (stream, _) = listener.accept().unwrap();
                stream.set_read_timeout(Some(TIMEOUT)).unwrap();
                scene(stream);
            }
        });
        then(&path);
    });
}

/// Waits for these questions and gives each its answer.
fn play(turns: &'static [(&'static [u8], &'static [u8])]) -> Scene {
    Box::new(move |mut stream| {
        for (question, answer) in turns {
            expect(&mut stream, question);
            stream.write_all(answer).unwrap();
        }
        // The other side ends it.
        let _ = stream.read(&mut [0]);
    })
}

/// Waits for a question. The memory may be asked for in between: it is refused.
fn expect(stream: &mut UnixStream, question: &[u8]) {
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length).unwrap();
        let mut body = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut body).unwrap();
        let said = [&length[..], &body].concat();
        if said == question {
            return;
        }
        assert_eq!(said, MAP);
        stream.write_all(REFUSED).unwrap();
    }
}

/// Answers MAP with OK and a descriptor, then GETs of `k`.
fn offering(memory: OwnedFd) -> Scene {
    Box::new(move |mut stream| {
        expect(&mut stream, MAP);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let (mut beside, rights) = (SendAncillaryBuffer::new(&mut space), [memory.as_fd()]);
        beside.push(SendAncillaryMessage::ScmRights(&rights));
        sendmsg(&stream, &[IoSlice::new(OK)], &mut beside, SendFlags::empty()).unwrap();
        expect(&mut stream, GET_K);
        stream.write_all(ADA).unwrap();
        let _ = stream.read(&mut [0]);
    })
}

fn read(reader: &mut SharedReader) -> Result<Option<Vec<u8>>, Error> {
    let mut value = b"before".to_vec();
    Ok(reader.get(b"k", &mut value)?.then_some(value))
}

#[test]
fn memory_that_cannot_be_trusted_is_not_read() {
    for (seals, size, why) in [
        (SealFlags::empty(), 1 << 20, "not sealed"),
        (SealFlags::SHRINK, 1 << 20, "not sealed"),
        (SealFlags::SHRINK | SealFlags::FUTURE_WRITE, 1 << 20, "not an arena"),
        (SealFlags::SHRINK | SealFlags::FUTURE_WRITE, 0, "empty"),
    ] {
        let memory = rustix::fs::memfd_create("test", MemfdFlags::ALLOW_SEALING).unwrap();
        rustix::fs::ftruncate(&memory, size).unwrap();
        rustix::fs::fcntl_add_seals(&memory, seals).unwrap();
        stage(vec![offering(memory)], |path| {
            let mut reader = SharedReader::connect(path).unwrap();
            assert!(!reader.is_shared() && reader.why_not().unwrap().contains(why), "{:?}", reader.why_not());
            assert_eq!(read(&mut reader).unwrap().unwrap(), b"Ada");
        });
    }
}

#[test]
fn an_ok_without_memory_is_none() {
    stage(vec![play(&[(MAP, OK), (GET_K, MISS), (GET_K, REFUSED), (GET_K, ADA)])], |path| {
        let mut reader = SharedReader::connect(path).unwrap();
        assert!(reader.why_not().unwrap().contains("without a descriptor"));
        assert_eq!(read(&mut reader).unwrap(), None);
        assert!(
            matches!(read(&mut reader), Err(Error::Refused(why)) if why == "no"),
            "the connection is good"
        );
        assert_eq!(read(&mut reader).unwrap().unwrap(), b"Ada");
    });
}

#[test]
fn who_does_not_share_its_memory_is_asked_for_it_less_and_less() {
    const FOR: Duration = Duration::from_secs(1);
    let (told, asked) = mpsc::channel();
    let refusing: Scene = Box::new(move |mut stream| {
        let mut refusals = 0;
        loop {
            let mut length = [0; 4];
            if stream.read_exact(&mut length).is_err() {
                return told.send(refusals).unwrap();
            }
            let mut body = vec![0; u32::from_be_bytes(length) as usize];
            stream.read_exact(&mut body).unwrap();
            let is_map = body == MAP[4..];
            refusals += u32::from(is_map);
            stream.write_all(if is_map { REFUSED } else { MISS }).unwrap();
        }
    });
    stage(vec![refusing], |path| {
        let (mut reader, begun) = (SharedReader::connect(path).unwrap(), Instant::now());
        while begun.elapsed() < FOR {
            assert_eq!(read(&mut reader).unwrap(), None);
        }
        drop(reader);
        // At 0, 100, 300, 700 ms: 4 times in a second, and never more than once after each pause.
        let (asked, most) = (asked.recv().unwrap(), 2 + begun.elapsed().as_millis().div_ceil(100).ilog2());
        assert!((2..=most).contains(&asked), "{asked} times");
    });
}

#[test]
fn what_is_no_answer_ends_the_connection_and_the_next_one_is_asked() {
    let scenes = vec![
        play(&[(MAP, REFUSED), (GET_K, b"-ERR max number of clients reached\r\n")]),
        play(&[(GET_K, ADA)]),
    ];
    stage(scenes, |path| {
        let mut reader = SharedReader::connect(path).unwrap();
        assert!(matches!(read(&mut reader), Err(Error::NoAnswer(_))));
        assert_eq!(read(&mut reader).unwrap().unwrap(), b"Ada");
    });
}

#[test]
fn a_question_whose_answer_is_cut_off_is_asked_again() {
    let cut: Scene = Box::new(|mut stream| {
        expect(&mut stream, MAP);
        stream.write_all(REFUSED).unwrap();
        expect(&mut stream, GET_K);
        stream.write_all(&ADA[..9]).unwrap();
        stream.shutdown(Shutdown::Both).unwrap();
    });
    stage(vec![cut, play(&[(GET_K, ADA)])], |path| {
        let mut reader = SharedReader::connect(path).unwrap();
        assert_eq!(read(&mut reader).unwrap().unwrap(), b"Ada");
    });
}

#[test]
fn who_answers_too_late_is_asked_once() {
    let silent: Scene = Box::new(|mut stream| {
        expect(&mut stream, GET_K);
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "the client gives it up");
    });
    stage(vec![silent], |path| {
        let mut connection = Connection::open(path, Duration::from_millis(50)).unwrap();
        assert!(matches!(connection.get(b"k", &mut Vec::new()), Err(Error::Socket(_))));
    });
}

#[test]
fn an_answer_in_pieces_is_one_answer() {
    let piecemeal: Scene = Box::new(|mut stream| {
        expect(&mut stream, GET_K);
        ADA.iter().for_each(|byte| stream.write_all(&[*byte]).unwrap());
        let _ = stream.read(&mut [0]);
    });
    stage(vec![piecemeal], |path| {
        let (mut connection, mut value) = (Connection::open(path, TIMEOUT).unwrap(), Vec::new());
        assert!(connection.get(b"k", &mut value).unwrap());
        assert_eq!(value, b"Ada");
        assert!(matches!(connection.set(b"k", &vec![0; 64 << 20], None), Err(Error::TooLong(_))));
    });
}
