//! RESP2 as a test wants it: commands from words, answers as text.

use std::io::BufRead;

/// The bytes of a command.
pub(crate) fn command<A: AsRef<[u8]>>(args: &[A]) -> Vec<u8> {
    let mut said = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args.iter().map(AsRef::as_ref) {
        said.extend(format!("${}\r\n", arg.len()).bytes());
        said.extend_from_slice(arg);
        said.extend_from_slice(b"\r\n");
    }
    said
}

/// The next answer: a value, a status, a number, or an error with its minus; `(nil)` for none.
pub(crate) fn hear(from: &mut impl BufRead) -> String {
    let mut line = String::new();
    from.read_line(&mut line).unwrap();
    let line = line.trim_end();
    match line.split_at(1) {
        ("$", "-1") => "(nil)".to_owned(),
        ("$", length) => {
            let mut value = vec![0; length.parse::<usize>().unwrap() + 2];
            from.read_exact(&mut value).unwrap();
            value.truncate(value.len() - 2);
            String::from_utf8_lossy(&value).into_owned()
        }
        ("-", _) => line.to_owned(),
        (_, text) => text.to_owned(),
    }
}
