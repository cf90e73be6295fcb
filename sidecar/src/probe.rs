//! The question of a probe, asked over the socket as any client would.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::args::Question;

/// The longest that an answer may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// Ready: the socket answers PING. Live: the socket accepts a connection.
pub(crate) fn ask(question: Question, socket: &Path) -> anyhow::Result<()> {
    let (path, (done, answer)) = (socket.to_owned(), mpsc::channel());
    // Connecting to a socket whose backlog is full waits without a limit: the thread is left behind then.
    thread::spawn(move || done.send(converse(question, &path)));
    match answer.recv_timeout(PATIENCE) {
        Ok(answered) => answered.with_context(|| format!("{}", socket.display())),
        Err(_) => bail!("{}: no answer within {}ms", socket.display(), PATIENCE.as_millis()),
    }
}

fn converse(question: Question, socket: &Path) -> anyhow::Result<()> {
    let mut stream = UnixStream::connect(socket).context("cannot connect")?;
    if matches!(question, Question::Live) {
        return Ok(());
    }
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"*1\r\n$4\r\nPING\r\n")?;
    let mut answer = [0; 7];
    stream.read_exact(&mut answer).context("no answer")?;
    if &answer != b"+PONG\r\n" {
        bail!("PING was not answered with PONG");
    }
    Ok(())
}
