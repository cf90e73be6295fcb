//! A collector that speaks OTLP/HTTP and takes what comes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// Paths, and bodies in protobuf.
type Taken = Mutex<Vec<(String, Vec<u8>)>>;

/// A collector on a port of its own, for as long as the process lives.
pub(crate) struct Collector {
    port: u16,
    taken: Arc<Taken>,
}

impl Collector {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, taken) = (listener.local_addr().unwrap().port(), Arc::default());
        let shared = Arc::clone(&taken);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let taken = Arc::clone(&shared);
                thread::spawn(move || take(&stream, &taken));
            }
        });
        Self { port, taken }
    }

    /// Where it listens.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Whether one body that came to `path` holds all of these.
    pub(crate) fn has(&self, path: &str, parts: &[&[u8]]) -> bool {
        let holds = |body: &[u8], part: &[u8]| body.windows(part.len()).any(|window| window == part);
        let taken = self.taken.lock().unwrap();
        taken.iter().any(|(to, body)| to == path && parts.iter().all(|part| holds(body, part)))
    }
}

fn take(stream: &TcpStream, taken: &Taken) {
    let (mut reader, mut answers) = (BufReader::new(stream), stream);
    loop {
        let (mut line, mut path, mut length) = (String::new(), String::new(), 0);
        while reader.read_line(&mut line).unwrap_or(0) > 2 {
            let lower = line.to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            } else if line.starts_with("POST ") {
                path = line.split(' ').nth(1).unwrap().to_owned();
            }
            line.clear();
        }
        let mut body = vec![0; length];
        if path.is_empty() || reader.read_exact(&mut body).is_err() {
            return;
        }
        taken.lock().unwrap().push((path, body));
        let _ = answers.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    }
}

/// The bytes that are written as `hex`.
pub(crate) fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}
