//! Sessions as clients hold them, and as no client should.

use std::fmt;

use proptest::prelude::*;
use proptest::sample::{Index, select};

/// What one client says, and where it is cut into writes.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    said: Vec<Vec<u8>>,
    bytes: Vec<u8>,
    cuts: Vec<usize>,
}

impl Session {
    fn new(mut said: Vec<Vec<u8>>, cuts: &[Index]) -> Self {
        // Redis counts what was stored dead until it stumbles over it; here it is not stored at all.
        if said.iter().any(|said| names(said, "XAT")) {
            said.retain(|said| !names(said, "DBSIZE"));
        }
        let bytes = said.concat();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        Self { said, bytes, cuts }
    }

    /// The writes.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.cuts.iter().copied());
        let ends = self.cuts.iter().copied().chain(std::iter::once(self.bytes.len()));
        starts.zip(ends).map(|(start, end)| &self.bytes[start..end]).filter(|piece| !piece.is_empty())
    }
}

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for said in &self.said {
            writeln!(f, "  {}", said.escape_ascii())?;
        }
        write!(f, "  cut at {:?}", self.cuts)
    }
}

/// Whether the bytes hold this word, in any case.
pub(crate) fn names(said: &[u8], word: &str) -> bool {
    said.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word.as_bytes()))
}

/// Any session; `select` may take out of it what is not to be compared.
pub(crate) fn session(select: fn(&mut Vec<Vec<u8>>)) -> impl Strategy<Value = Session> {
    let said = prop::collection::vec(saying(), 1..16);
    (said, prop::collection::vec(any::<Index>(), 0..4)).prop_map(move |(mut said, cuts)| {
        select(&mut said);
        Session::new(said, &cuts)
    })
}

fn saying() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        60 => command().prop_map(|args| array(&args)),
        6 => command().prop_map(|args| inline(&args)),
        1 => broken(),
    ]
}

fn array(args: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        bytes.extend(format!("${}\r\n", arg.len()).bytes());
        bytes.extend(arg);
        bytes.extend(b"\r\n");
    }
    bytes
}

fn inline(args: &[Vec<u8>]) -> Vec<u8> {
    let quoted = args.iter().map(|arg| {
        let hex: String = arg.iter().map(|byte| format!("\\x{byte:02x}")).collect();
        if !arg.is_empty() && arg.iter().all(u8::is_ascii_alphanumeric) {
            String::from_utf8_lossy(arg).into_owned()
        } else {
            format!("\"{hex}\"")
        }
    });
    (quoted.collect::<Vec<_>>().join(" ") + "\r\n").into_bytes()
}

fn broken() -> impl Strategy<Value = Vec<u8>> {
    select(vec![
        &b"*x\r\n"[..],
        b"*1\r\n$abc\r\n",
        b"*1\r\n:1\r\n",
        b"*1\r\n$-1\r\n",
        b"*2\r\n$3\r\nGET\r\n+a\r\n",
        b"*99999999999\r\n",
        b"*1\r\n$99999999999\r\n",
        b"*0\r\n",
        b"*-1\r\n",
        b"*-10\r\n",
        b"\r\n",
        b"\n",
        b"   \r\n",
        b"*1\r\n$4\r\nPINGxx",
        b"set a \"unbalanced\r\n",
        b"get 'a'b\r\n",
        b"$3\r\n",
        b"*1\r\n$01\r\nx\r\n",
    ])
    .prop_map(<[u8]>::to_vec)
}

/// A command as a list of arguments: mostly well-formed, sometimes anything.
fn command() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop_oneof![
        30 => shape().prop_flat_map(|shape| {
            let args: Vec<_> = shape.split(' ').map(slot).collect();
            args
        }),
        4 => (name(), prop::collection::vec(anything(), 0..5)).prop_map(|(name, mut args)| {
            args.insert(0, name);
            args
        }),
    ]
    .prop_flat_map(|args| (Just(args), prop_oneof![5 => Just(false), 1 => Just(true)]))
    .prop_map(|(mut args, lower)| {
        unhurried(&mut args);
        if lower {
            args[0].make_ascii_lowercase();
        }
        args
    })
}

/// Makes times to live long, and those in milliseconds whole seconds: nothing ends during a session, and what is left
/// is rounded alike by two servers that are asked one after the other.
fn unhurried(args: &mut [Vec<u8>]) {
    let is = |arg: &[u8], names: &[&str]| names.iter().any(|name| arg.eq_ignore_ascii_case(name.as_bytes()));
    let Some((name, rest)) = args.split_first_mut() else { return };
    if is(name, &["SETEX", "EXPIRE", "PSETEX", "PEXPIRE"])
        && let Some(time) = rest.get_mut(1)
    {
        lengthen(time, is(name, &["PSETEX", "PEXPIRE"]));
    } else if is(name, &["SET", "GETEX"]) {
        for at in 1..rest.len() {
            if is(&rest[at - 1], &["EX", "PX"]) {
                let in_ms = is(&rest[at - 1], &["PX"]);
                lengthen(&mut rest[at], in_ms);
            }
        }
    }
}

fn lengthen(time: &mut Vec<u8>, in_ms: bool) {
    let read: Option<i64> = std::str::from_utf8(time).ok().and_then(|time| time.parse().ok());
    if read.is_some_and(|time| if in_ms { (1..1 << 40).contains(&time) } else { (1..100).contains(&time) }) {
        time.extend(b"000000");
    }
}

/// Shapes of commands; lower-case words stand for what is generated in their place.
const SHAPES: &[&str] = &[
    "GET key",
    "GET key",
    "GET key",
    "SET key value",
    "SET key value",
    "SET key value",
    "SET key value setopt",
    "SET key value setopt setopt",
    "SET key value EX ttl",
    "SET key value PX ttl",
    "SET key value EXAT at",
    "SET key value PXAT at",
    "SET key value setopt EX ttl",
    "SET key value EX ttl setopt",
    "SETEX key ttl value",
    "PSETEX key ttl value",
    "SETNX key value",
    "GETSET key value",
    "GETDEL key",
    "GETEX key",
    "GETEX key EX ttl",
    "GETEX key PX ttl",
    "GETEX key EXAT at",
    "GETEX key PXAT at",
    "GETEX key PERSIST",
    "GETEX key getopt getopt",
    "MGET key",
    "MGET key key key",
    "MSET key value",
    "MSET key value key value",
    "MSET key value key",
    "MSETNX key value key value",
    "DEL key",
    "DEL key key",
    "UNLINK key key",
    "TOUCH key key",
    "EXISTS key key key",
    "TYPE key",
    "TTL key",
    "PTTL key",
    "EXPIRETIME key",
    "PEXPIRETIME key",
    "EXPIRE key ttl",
    "EXPIRE key newttl cond",
    "PEXPIRE key newttl cond",
    "EXPIREAT key at cond",
    "PEXPIREAT key at cond",
    "PEXPIREAT key at",
    "EXPIRE key newttl cond cond",
    "PERSIST key",
    "INCR key",
    "DECR key",
    "INCRBY key int",
    "DECRBY key int",
    "INCRBYFLOAT key float",
    "INCRBYFLOAT key float",
    "APPEND key value",
    "STRLEN key",
    "GETRANGE key int int",
    "SUBSTR key int int",
    "SETRANGE key offset value",
    "SCAN 0 COUNT 1000",
    "SCAN 0 COUNT 1000 MATCH glob",
    "SCAN 0 MATCH glob COUNT 1000",
    "SCAN 0 COUNT 1000 TYPE type",
    "SCAN cursor",
    "SCAN 0 COUNT badcount",
    "DBSIZE",
    "FLUSHDB",
    "FLUSHALL",
    "FLUSHALL flush",
    "MULTI",
    "MULTI",
    "EXEC",
    "EXEC",
    "EXEC",
    "DISCARD",
    "WATCH key",
    "WATCH key key",
    "UNWATCH",
    "PING",
    "PING value",
    "ECHO value",
    "HELLO",
    "HELLO 2",
    "HELLO 3",
    "HELLO 3",
    "HELLO int",
    "HELLO 3 AUTH default value",
    "HELLO 3 SETNAME value",
    "HELLO 2 value",
    "AUTH value",
    "AUTH default value",
    "AUTH value value",
    "SELECT 0",
    "SELECT int",
    "CLIENT GETNAME",
    "CLIENT SETNAME value",
    "CLIENT NO-EVICT on",
    "CLIENT NO-EVICT value",
    "CLIENT GETREDIR",
    "CLIENT value",
    "CONFIG value",
    "RESET",
    "QUIT",
];

fn shape() -> impl Strategy<Value = &'static str> {
    select(SHAPES)
}

fn slot(word: &'static str) -> BoxedStrategy<Vec<u8>> {
    match word {
        "key" => key().boxed(),
        "value" => value().boxed(),
        "int" | "offset" if word == "int" => int().boxed(),
        "offset" => pick(&["0", "1", "5", "20", "-1", "x", "9223372036854775807", "4294967296"]).boxed(),
        "float" => float().boxed(),
        "ttl" => pick(&[
            "100",
            "1000",
            "100000",
            "100000",
            "0",
            "-1",
            "x",
            "9223372036854775807",
            "-9223372036854775807",
        ])
        .boxed(),
        // Never twice the same: whether one is greater would depend on the millisecond.
        "newttl" => prop_oneof![
            4 => (200u32..900_000_000).prop_map(|ttl| ttl.to_string().into_bytes()),
            1 => pick(&["0", "-1", "x", "9223372036854775807"]),
        ]
        .boxed(),
        "at" => pick(&["1", "9999999999", "99999999999999", "0", "-5", "x", "9223372036854775807"]).boxed(),
        "setopt" => pick(&["NX", "XX", "GET", "KEEPTTL", "nx", "EX", "PERSIST", "foo", "get"]).boxed(),
        "getopt" => pick(&["PERSIST", "EX", "PX", "100", "KEEPTTL", "persist", "x"]).boxed(),
        "cond" => pick(&["NX", "XX", "GT", "LT", "gt", "lt", "foo"]).boxed(),
        "glob" => pick(&["*", "a*", "?", "[ab]", "[^a]", "k:*", "\\a", "", "*:*"]).boxed(),
        "badcount" => pick(&["0", "-1", "x", "", "9223372036854775808"]).boxed(),
        "type" => pick(&["string", "STRING", "list", "foo"]).boxed(),
        "cursor" => pick(&["0", "x", "-", "", "+0", " 0", "18446744073709551616"]).boxed(),
        "flush" => pick(&["SYNC", "async", "foo"]).boxed(),
        literal => Just(literal.as_bytes().to_vec()).boxed(),
    }
}

fn pick(from: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    select(from).prop_map(|text| text.as_bytes().to_vec())
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    pick(&["a", "b", "c", "k:1", "", "a b"])
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        pick(&[
            "",
            "1",
            "10",
            "-5",
            "abc",
            "9223372036854775807",
            "-9223372036854775808",
            "3.5",
            "1e3",
            " 1",
            "007"
        ]),
        pick(&["hello world", "x\r\ny", "0", "-0", "1.0", "0.1", "inf", "nan", "0x10"]),
        prop::collection::vec(any::<u8>(), 0..12),
    ]
}

fn int() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => pick(&["0", "1", "-1", "2", "-2", "5", "100", "-100"]),
        2 => pick(&["abc", "9223372036854775807", "-9223372036854775808", "1.5", "", "4", "2147483648", " 1", "+1"]),
        1 => any::<i64>().prop_map(|int| int.to_string().into_bytes()),
    ]
}

fn float() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        pick(&["0.1", "-0.1", "1e3", "3", "1e-10", "-1e-18", "123456789.987654321", "1e17", "0x1p-3"]),
        pick(&["inf", "-inf", "nan", "abc", "", "1e400", "1e4000", "1e5000", " 1", "1 "]),
        (any::<i32>(), -12i32..6).prop_map(|(digits, power)| format!("{digits}e{power}").into_bytes()),
        any::<f64>().prop_map(|float| float.to_string().into_bytes()),
    ]
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let known =
        select(SHAPES).prop_map(|shape| shape.split(' ').next().unwrap_or_default().as_bytes().to_vec());
    // Of these, anything but errors is listed in docs/protocol.md as different.
    let known = known.prop_filter("only errors are compared", |name| {
        !matches!(&name[..], b"SCAN" | b"CLIENT" | b"CONFIG")
    });
    let unknown = pick(&["FOO", "", "GETT", "foo\r\nbar", "LONGNAMELONGNAMELONGNAME", "zz"]);
    prop_oneof![8 => known, 1 => unknown]
}

fn anything() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        key(),
        value(),
        int(),
        pick(&["EX", "PX", "NX", "XX", "GET", "COUNT", "MATCH", "AUTH", "SETNAME"])
    ]
}
