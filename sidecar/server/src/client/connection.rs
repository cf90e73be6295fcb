//! Commands about the connection: PING, ECHO, HELLO, AUTH, SELECT, CLIENT; and the refusals of what is no command.

use bytes::Bytes;
use synapse_core::memory::MemoryStats;
use synapse_core::reply::Reply;
use synapse_engine::command::{self, Command, Op};
use synapse_protocol::resp::Version;

use super::registry::Identity;
use super::{Client, introspection};

/// The version of Redis whose commands are spoken here: what clients decide by.
pub(super) const REDIS_VERSION: &str = "7.0.15";

/// Characters of a command's name and of its arguments that a refusal repeats.
const REPEATED_BYTES: usize = 128;

/// Commands that have subcommands: the subcommand and its arity, both names included.
const SUBCOMMANDS: &[(Op, &[(&str, i32)])] = &[
    (Op::Client, CLIENT_SUBCOMMANDS),
    (Op::Config, &[("get", -3)]),
    (Op::Command, &[("count", 2), ("docs", -2), ("info", -2), ("list", -2)]),
];

const CLIENT_SUBCOMMANDS: &[(&str, i32)] = &[
    ("getname", 2),
    ("getredir", 2),
    ("id", 2),
    ("info", 2),
    ("list", -2),
    ("no-evict", 3),
    ("no-touch", 3),
    ("setinfo", 4),
    ("setname", 3),
];

const WRONG_PASSWORD: Reply = Reply::error("WRONGPASS invalid username-password pair or user is disabled.");
const NO_PASSWORD: Reply = Reply::error(
    "ERR AUTH <password> called without any password configured for the default user. \
     Are you sure your configuration is correct?",
);
const BAD_NAME: Reply =
    Reply::error("ERR Client names cannot contain spaces, newlines or special characters.");
const LONG_NAME: Reply = Reply::error("ERR Client names cannot be longer than 1024 bytes");

/// The longest name of a client: everyone's are held, and listed together.
const MAX_NAME_BYTES: usize = 1024;
const SYNTAX: Reply = Reply::error("ERR syntax error");

/// What a client may ask about the server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Server {
    /// The figures of memory at the beginning of the batch.
    pub(crate) memory: MemoryStats,
}

/// The command that the arguments name, subcommands and their arity checked.
pub(super) fn lookup(args: &[Bytes]) -> Result<&'static Command, Reply> {
    let command = command::find(&args[0]).ok_or_else(|| unknown_command(args))?;
    let subcommands = SUBCOMMANDS.iter().find(|(op, _)| *op == command.op);
    let (Some((_, subcommands)), Some(wanted)) = (subcommands, args.get(1)) else { return Ok(command) };
    let known = subcommands.iter().find(|(name, _)| wanted.eq_ignore_ascii_case(name.as_bytes()));
    let Some((name, arity)) = known else { return Err(unknown_subcommand(command, wanted)) };
    let shape = Command { arity: *arity, ..*command };
    if shape.accepts(args.len()) {
        Ok(command)
    } else {
        Err(wrong_arity(&format!("{}|{name}", command.name)))
    }
}

/// The answer to a command that does not need the keys; `None` when it does.
pub(super) fn answer(client: &mut Client, op: Op, args: &[Bytes], server: &Server) -> Option<Reply> {
    Some(match op {
        Op::Ping => match args {
            [_] => Reply::status("PONG"),
            [_, message] => Reply::Bulk(message.clone()),
            _ => wrong_arity("ping"),
        },
        Op::Echo => Reply::Bulk(args[1].clone()),
        Op::Select => select(&args[1]),
        Op::Auth => auth(args),
        Op::Hello => hello(client, args),
        Op::Client => client_command(client, args),
        Op::Command => introspection::command(args),
        Op::Config => introspection::config(args, server),
        Op::Info => introspection::info(args, server, client),
        _ => return None,
    })
}

/// The refusal of a call with too few or too many arguments.
pub(super) fn wrong_arity(name: &str) -> Reply {
    Reply::error_text(format!("ERR wrong number of arguments for '{name}' command"))
}

/// EXEC with arguments is refused, and ends the transaction with its refusal.
pub(super) fn exec_with_arguments() -> Reply {
    Reply::error("EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command")
}

fn unknown_command(args: &[Bytes]) -> Reply {
    let mut text = b"ERR unknown command '".to_vec();
    text.extend_from_slice(as_c_string(&args[0], REPEATED_BYTES));
    text.extend_from_slice(b"', with args beginning with: ");
    let start = text.len();
    for arg in &args[1..] {
        let used = text.len() - start;
        if used >= REPEATED_BYTES {
            break;
        }
        text.push(b'\'');
        text.extend_from_slice(as_c_string(arg, REPEATED_BYTES - used));
        text.extend_from_slice(b"' ");
    }
    Reply::error_text(text)
}

fn unknown_subcommand(command: &Command, wanted: &[u8]) -> Reply {
    let mut text = b"ERR unknown subcommand '".to_vec();
    text.extend_from_slice(as_c_string(wanted, REPEATED_BYTES));
    text.extend_from_slice(format!("'. Try {} HELP.", command.name.to_uppercase()).as_bytes());
    Reply::error_text(text)
}

/// What C would print of it: up to a zero byte, and no more than `most`.
fn as_c_string(bytes: &[u8], most: usize) -> &[u8] {
    let end = bytes.iter().take(most).position(|byte| *byte == 0);
    &bytes[..end.unwrap_or(bytes.len().min(most))]
}

fn integer(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let value: i64 = text.parse().ok()?;
    (value.to_string() == text).then_some(value)
}

fn select(index: &[u8]) -> Reply {
    match integer(index) {
        None => Reply::error("ERR value is not an integer or out of range"),
        Some(0) => Reply::OK,
        Some(index) if i32::try_from(index).is_ok() => Reply::error("ERR DB index is out of range"),
        Some(_) => Reply::error("ERR value is out of range, value must between -2147483648 and 2147483647"),
    }
}

fn auth(args: &[Bytes]) -> Reply {
    match args {
        [_, _] => NO_PASSWORD,
        [_, user, _] if &user[..] == b"default" => Reply::OK,
        [_, _, _] => WRONG_PASSWORD,
        _ => SYNTAX,
    }
}

fn hello(client: &mut Client, args: &[Bytes]) -> Reply {
    let version = match args.get(1).map(|text| integer(text)) {
        None => client.version,
        Some(Some(2)) => Version::Two,
        Some(Some(3)) => Version::Three,
        Some(Some(_)) => return Reply::error("NOPROTO unsupported protocol version"),
        Some(None) => return Reply::error("ERR Protocol version is not an integer or out of range"),
    };
    let mut rest = args.get(2..).unwrap_or_default();
    while let [option, more @ ..] = rest {
        rest = match more {
            [user, _, more @ ..] if option.eq_ignore_ascii_case(b"AUTH") => {
                if &user[..] != b"default" {
                    return WRONG_PASSWORD;
                }
                more
            }
            [name, more @ ..] if option.eq_ignore_ascii_case(b"SETNAME") => {
                if let Err(refusal) = set_name(client, name) {
                    return refusal;
                }
                more
            }
            _ => {
                let option = as_c_string(option, option.len());
                return Reply::error_text([b"ERR Syntax error in HELLO option '", option, b"'"].concat());
            }
        };
    }
    client.version = version;
    let text = Reply::text;
    Reply::Map(vec![
        (text("server"), text("redis")),
        (text("version"), text(REDIS_VERSION)),
        (text("proto"), Reply::Int(if version == Version::Three { 3 } else { 2 })),
        (text("id"), Reply::Int(i64::try_from(client.identity.id()).unwrap_or(i64::MAX))),
        (text("mode"), text("standalone")),
        (text("role"), text("master")),
        (text("modules"), Reply::Array(Vec::new())),
    ])
}

fn client_command(client: &mut Client, args: &[Bytes]) -> Reply {
    let Some(subcommand) = args.get(1).map(|name| name.to_ascii_lowercase()) else { return SYNTAX };
    match (&subcommand[..], &args[2..]) {
        (b"id", _) => Reply::Int(i64::try_from(client.identity.id()).unwrap_or(i64::MAX)),
        (b"getredir", _) => Reply::Int(-1),
        (b"getname", _) => match client.identity.identity().name {
            name if name.is_empty() => Reply::Nil,
            name => Reply::Bulk(name),
        },
        (b"setname", [name]) => set_name(client, name).map_or_else(|refusal| refusal, |()| Reply::OK),
        (b"setinfo", [attribute, _])
            if attribute.eq_ignore_ascii_case(b"lib-name") || attribute.eq_ignore_ascii_case(b"lib-ver") =>
        {
            Reply::OK
        }
        (b"no-evict" | b"no-touch", [switch])
            if switch.eq_ignore_ascii_case(b"on") || switch.eq_ignore_ascii_case(b"off") =>
        {
            Reply::OK
        }
        (b"info", _) => Reply::Text(describe(&client.identity.identity()).into()),
        (b"list", []) => {
            Reply::Text(client.identity.everyone().iter().map(describe).collect::<String>().into())
        }
        _ => SYNTAX,
    }
}

fn set_name(client: &Client, name: &[u8]) -> Result<(), Reply> {
    if !name.iter().all(u8::is_ascii_graphic) {
        return Err(BAD_NAME);
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(LONG_NAME);
    }
    client.identity.rename(Bytes::copy_from_slice(name));
    Ok(())
}

fn describe(identity: &Identity) -> String {
    let name = String::from_utf8_lossy(&identity.name);
    format!("id={} name={name} age={} db=0\n", identity.id, identity.since.elapsed().as_secs())
}
