//! A small server of RESP that answers rightly, until it lies once.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

/// What it does instead of answering the tenth GET.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lie {
    None,
    OtherKey,
    OneBit,
    CutShort,
    Longer,
    Miss,
    Error,
    Stored,
    Twice,
    Nonsense,
    Silence,
    Close,
    /// No lie: all answers after it come half a second late, because it stops for so long.
    Pause,
}

/// So many GETs are answered rightly.
const TRUTHS: usize = 9;

/// Starts it on a thread that ends with the process.
pub(crate) fn start(lie: Lie) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // The generator ends at the lie, and the connection with it.
            let _ = serve(stream.unwrap(), lie);
        }
    });
    (dir, path)
}

fn serve(mut stream: UnixStream, lie: Lie) -> std::io::Result<()> {
    let mut input = BufReader::new(stream.try_clone()?);
    let mut kept: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
    let mut gets = 0;
    while let Some(words) = command(&mut input)? {
        if let [_, key, value] = &words[..] {
            kept.insert(key.clone(), value.clone());
            stream.write_all(b"+OK\r\n")?;
            continue;
        }
        gets += 1;
        let mut value = kept[&words[1]].clone();
        if gets > TRUTHS {
            match lie {
                Lie::None => {}
                Lie::OtherKey => value = kept.iter().find(|(key, _)| **key != words[1]).unwrap().1.clone(),
                Lie::OneBit => *value.last_mut().unwrap() ^= 1,
                Lie::CutShort => value.truncate(value.len() - 1),
                Lie::Longer => value.push(b'x'),
                Lie::Miss => stream.write_all(b"$-1\r\n")?,
                Lie::Error => stream.write_all(b"-OOM too much\r\n")?,
                Lie::Stored => stream.write_all(b"+OK\r\n")?,
                Lie::Twice => write(&mut stream, &value)?,
                Lie::Nonsense => stream.write_all(b"HTTP/1.1 200 OK\r\n")?,
                Lie::Silence => std::thread::sleep(Duration::from_secs(30)),
                Lie::Close => return Ok(()),
                Lie::Pause if gets == TRUTHS + 1 => std::thread::sleep(Duration::from_millis(500)),
                Lie::Pause => {}
            }
        }
        write(&mut stream, &value)?;
    }
    Ok(())
}

fn write(stream: &mut UnixStream, value: &[u8]) -> std::io::Result<()> {
    stream.write_all(&[format!("${}\r\n", value.len()).as_bytes(), value, b"\r\n"].concat())
}

fn command(input: &mut impl BufRead) -> std::io::Result<Option<Vec<Vec<u8>>>> {
    let Some(count) = number(input)? else { return Ok(None) };
    let mut words = Vec::new();
    for _ in 0..count {
        let mut word = vec![0; number(input)?.unwrap() + 2];
        input.read_exact(&mut word)?;
        word.truncate(word.len() - 2);
        words.push(word);
    }
    Ok(Some(words))
}

/// The number in a line, after the byte that says what it counts.
fn number(input: &mut impl BufRead) -> std::io::Result<Option<usize>> {
    let mut line = String::new();
    input.read_line(&mut line)?;
    Ok(line.get(1..).map(|digits| digits.trim_end().parse().unwrap()))
}
