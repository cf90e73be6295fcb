//! The commands, as data: name, arity, nature, where the keys stand. One table for memory, Redis and `COMMAND`.

use std::ops::Range;

/// A command.
#[derive(Debug, PartialEq, Eq)]
pub struct Command {
    /// The name in lower case.
    pub name: &'static str,
    /// Arguments, the name included: exactly so many, or at least so many when negative.
    pub arity: i32,
    /// What it does to keys.
    pub nature: Nature,
    /// Where its keys stand.
    pub keys: Keys,
    /// Which operation it is.
    pub op: Op,
}

/// What a command does to keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nature {
    /// It reads them.
    Read,
    /// It may change them.
    Write,
    /// It has to do with the connection or the server, not with keys.
    Connection,
}

/// Positions of keys among the arguments, the name being 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keys {
    /// The first key; 0 when there are none.
    pub first: usize,
    /// The last key, counted from the end when negative.
    pub last: isize,
    /// From one key to the next.
    pub step: usize,
}

/// Every operation there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the command of its name")]
#[rustfmt::skip]
pub enum Op {
    Append, Auth, Client, Command, Config, Dbsize, Decr, Decrby, Del, Discard, Echo, Exec, Exists, Expire, Expireat,
    Expiretime, Flushall, Flushdb, Get, Getdel, Getex, Getrange, Getset, Hello, Host, Incr, Incrby, Incrbyfloat, Info,
    Mget, Mset, Msetnx, Multi, Persist, Pexpire, Pexpireat, Pexpiretime, Ping, Post, Psetex, Pttl, Quit, Reset, Scan,
    Select, Set, Setex, Setnx, Setrange, Strlen, Substr, Touch, Ttl, Type, Unlink, Unwatch, Watch,
}

const NONE: Keys = Keys { first: 0, last: 0, step: 0 };
const ONE: Keys = Keys { first: 1, last: 1, step: 1 };
const ALL: Keys = Keys { first: 1, last: -1, step: 1 };
const PAIRS: Keys = Keys { first: 1, last: -1, step: 2 };

/// All commands, ordered by name.
#[rustfmt::skip]
pub const COMMANDS: &[Command] = &[
    row("append",      3,  Nature::Write,      ONE,   Op::Append),
    row("auth",        -2, Nature::Connection, NONE,  Op::Auth),
    row("client",      -2, Nature::Connection, NONE,  Op::Client),
    row("command",     -1, Nature::Connection, NONE,  Op::Command),
    row("config",      -2, Nature::Connection, NONE,  Op::Config),
    row("dbsize",      1,  Nature::Read,       NONE,  Op::Dbsize),
    row("decr",        2,  Nature::Write,      ONE,   Op::Decr),
    row("decrby",      3,  Nature::Write,      ONE,   Op::Decrby),
    row("del",         -2, Nature::Write,      ALL,   Op::Del),
    row("discard",     1,  Nature::Connection, NONE,  Op::Discard),
    row("echo",        2,  Nature::Connection, NONE,  Op::Echo),
    row("exec",        1,  Nature::Connection, NONE,  Op::Exec),
    row("exists",      -2, Nature::Read,       ALL,   Op::Exists),
    row("expire",      -3, Nature::Write,      ONE,   Op::Expire),
    row("expireat",    -3, Nature::Write,      ONE,   Op::Expireat),
    row("expiretime",  2,  Nature::Read,       ONE,   Op::Expiretime),
    row("flushall",    -1, Nature::Write,      NONE,  Op::Flushall),
    row("flushdb",     -1, Nature::Write,      NONE,  Op::Flushdb),
    row("get",         2,  Nature::Read,       ONE,   Op::Get),
    row("getdel",      2,  Nature::Write,      ONE,   Op::Getdel),
    row("getex",       -2, Nature::Write,      ONE,   Op::Getex),
    row("getrange",    4,  Nature::Read,       ONE,   Op::Getrange),
    row("getset",      3,  Nature::Write,      ONE,   Op::Getset),
    row("hello",       -1, Nature::Connection, NONE,  Op::Hello),
    row("host:",       -1, Nature::Connection, NONE,  Op::Host),
    row("incr",        2,  Nature::Write,      ONE,   Op::Incr),
    row("incrby",      3,  Nature::Write,      ONE,   Op::Incrby),
    row("incrbyfloat", 3,  Nature::Write,      ONE,   Op::Incrbyfloat),
    row("info",        -1, Nature::Connection, NONE,  Op::Info),
    row("mget",        -2, Nature::Read,       ALL,   Op::Mget),
    row("mset",        -3, Nature::Write,      PAIRS, Op::Mset),
    row("msetnx",      -3, Nature::Write,      PAIRS, Op::Msetnx),
    row("multi",       1,  Nature::Connection, NONE,  Op::Multi),
    row("persist",     2,  Nature::Write,      ONE,   Op::Persist),
    row("pexpire",     -3, Nature::Write,      ONE,   Op::Pexpire),
    row("pexpireat",   -3, Nature::Write,      ONE,   Op::Pexpireat),
    row("pexpiretime", 2,  Nature::Read,       ONE,   Op::Pexpiretime),
    row("ping",        -1, Nature::Connection, NONE,  Op::Ping),
    row("post",        -1, Nature::Connection, NONE,  Op::Post),
    row("psetex",      4,  Nature::Write,      ONE,   Op::Psetex),
    row("pttl",        2,  Nature::Read,       ONE,   Op::Pttl),
    row("quit",        -1, Nature::Connection, NONE,  Op::Quit),
    row("reset",       1,  Nature::Connection, NONE,  Op::Reset),
    row("scan",        -2, Nature::Read,       NONE,  Op::Scan),
    row("select",      2,  Nature::Connection, NONE,  Op::Select),
    row("set",         -3, Nature::Write,      ONE,   Op::Set),
    row("setex",       4,  Nature::Write,      ONE,   Op::Setex),
    row("setnx",       3,  Nature::Write,      ONE,   Op::Setnx),
    row("setrange",    4,  Nature::Write,      ONE,   Op::Setrange),
    row("strlen",      2,  Nature::Read,       ONE,   Op::Strlen),
    row("substr",      4,  Nature::Read,       ONE,   Op::Substr),
    row("touch",       -2, Nature::Read,       ALL,   Op::Touch),
    row("ttl",         2,  Nature::Read,       ONE,   Op::Ttl),
    row("type",        2,  Nature::Read,       ONE,   Op::Type),
    row("unlink",      -2, Nature::Write,      ALL,   Op::Unlink),
    row("unwatch",     1,  Nature::Connection, NONE,  Op::Unwatch),
    row("watch",       -2, Nature::Connection, ALL,   Op::Watch),
];

const fn row(name: &'static str, arity: i32, nature: Nature, keys: Keys, op: Op) -> Command {
    Command { name, arity, nature, keys, op }
}

/// The longest name in the table, in bytes.
const LONGEST_NAME: usize = 11;

/// The command of this name, in any case.
pub fn find(name: &[u8]) -> Option<&'static Command> {
    let mut lower = [0; LONGEST_NAME];
    let lower = lower.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    let found = COMMANDS.binary_search_by(|command| command.name.as_bytes().cmp(lower)).ok()?;
    Some(&COMMANDS[found])
}

impl Command {
    /// Whether the command may be called with so many arguments, the name included.
    pub fn accepts(&self, argc: usize) -> bool {
        let least = usize::try_from(self.arity.unsigned_abs()).unwrap_or(usize::MAX);
        if self.arity < 0 { argc >= least } else { argc == least }
    }

    /// The positions of the keys in a call with so many arguments, the name included.
    pub fn key_positions(&self, argc: usize) -> impl Iterator<Item = usize> {
        let Keys { first, last, step } = self.keys;
        let end = match usize::try_from(last) {
            Ok(last) => (last + 1).min(argc),
            Err(_) => (argc + 1).saturating_sub(last.unsigned_abs()),
        };
        let positions: Range<usize> = if first == 0 { 0..0 } else { first..end };
        positions.step_by(step.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_ordered_and_found_in_any_case() {
        assert!(COMMANDS.is_sorted_by(|a, b| a.name < b.name));
        assert_eq!(COMMANDS.iter().map(|command| command.name.len()).max(), Some(LONGEST_NAME));
        for command in COMMANDS {
            assert_eq!(find(command.name.to_uppercase().as_bytes()), Some(command));
        }
        assert_eq!(find(b""), None);
        assert_eq!(find(b"incrbyfloatx"), None);
        assert_eq!(find(b"gett"), None);
    }

    #[test]
    fn keys_stand_where_the_table_says() {
        let keys = |name: &str, argc| find(name.as_bytes()).unwrap().key_positions(argc).collect::<Vec<_>>();
        assert_eq!(keys("get", 2), [1]);
        assert_eq!(keys("set", 5), [1]);
        assert_eq!(keys("del", 4), [1, 2, 3]);
        assert_eq!(keys("mset", 5), [1, 3]);
        assert!(keys("ping", 2).is_empty());
    }

    #[test]
    fn arity_is_exact_or_a_least() {
        let accepts = |name: &str, argc| find(name.as_bytes()).unwrap().accepts(argc);
        assert!(accepts("get", 2) && !accepts("get", 1) && !accepts("get", 3));
        assert!(accepts("set", 3) && accepts("set", 9) && !accepts("set", 2));
    }
}
