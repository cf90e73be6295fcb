//! Commands about the server: COMMAND, CONFIG GET, INFO.

use bytes::Bytes;
use synapse_core::reply::Reply;
use synapse_engine::command::{self, COMMANDS, Command, Nature};
use synapse_engine::glob;

use super::Client;
use super::connection::{REDIS_VERSION, Server};

pub(super) fn command(args: &[Bytes]) -> Reply {
    match args.get(1).map(|name| name.to_ascii_lowercase()).as_deref() {
        None => Reply::Array(COMMANDS.iter().map(describe).collect()),
        Some(b"count") => Reply::Int(COMMANDS.len() as i64),
        Some(b"list") => Reply::Array(COMMANDS.iter().map(|command| Reply::text(command.name)).collect()),
        Some(b"info") if args.len() == 2 => Reply::Array(COMMANDS.iter().map(describe).collect()),
        Some(b"info") => {
            let found = args[2..].iter().map(|name| command::find(name).map_or(Reply::NilArray, describe));
            Reply::Array(found.collect())
        }
        // The texts of Redis' documentation are not repeated here.
        Some(_) => Reply::Map(Vec::new()),
    }
}

/// The ten fields of `COMMAND INFO`; the last four, which nobody needs to route a command, are empty.
fn describe(command: &Command) -> Reply {
    let nature = match command.nature {
        Nature::Read => "readonly",
        Nature::Write => "write",
        Nature::Connection => "noscript",
    };
    let position = |position: usize| Reply::Int(i64::try_from(position).unwrap_or(0));
    Reply::Array(vec![
        Reply::text(command.name),
        Reply::Int(command.arity.into()),
        Reply::Set(vec![Reply::status(nature)]),
        position(command.keys.first),
        Reply::Int(command.keys.last as i64),
        position(command.keys.step),
        Reply::Set(Vec::new()),
        Reply::Array(Vec::new()),
        Reply::Array(Vec::new()),
        Reply::Array(Vec::new()),
    ])
}

pub(super) fn config(args: &[Bytes], server: &Server) -> Reply {
    let settings = [
        ("appendonly", "no".to_owned()),
        ("databases", "1".to_owned()),
        ("maxmemory", server.memory.capacity_bytes.to_string()),
        ("maxmemory-policy", "allkeys-lru".to_owned()),
        ("save", String::new()),
        ("timeout", "0".to_owned()),
    ];
    let patterns: Vec<_> = args[2..].iter().map(|pattern| pattern.to_ascii_lowercase()).collect();
    let wanted = |name: &str| patterns.iter().any(|pattern| glob::matches(pattern, name.as_bytes()));
    let found = settings.into_iter().filter(|(name, _)| wanted(name));
    Reply::Map(found.map(|(name, value)| (Reply::text(name), Reply::Bulk(value.into()))).collect())
}

pub(super) fn info(args: &[Bytes], server: &Server, client: &Client) -> Reply {
    let memory = &server.memory;
    let registry = client.identity.registry();
    let sections = [
        (
            "server",
            format!("redis_version:{REDIS_VERSION}\r\nredis_mode:standalone\r\nserver_name:synapse\r\n"),
        ),
        ("clients", format!("connected_clients:{}\r\n", registry.len())),
        (
            "memory",
            format!(
                "used_memory:{}\r\nmaxmemory:{}\r\nmaxmemory_policy:allkeys-lru\r\n",
                memory.bytes, memory.capacity_bytes
            ),
        ),
        (
            "stats",
            format!(
                "total_connections_received:{}\r\nexpired_keys:{}\r\nevicted_keys:{}\r\n",
                registry.total(),
                memory.expirations,
                memory.evictions
            ),
        ),
        ("replication", "role:master\r\nconnected_slaves:0\r\n".to_owned()),
        ("keyspace", format!("db0:keys={}\r\n", memory.entries)),
    ];
    let wanted: Vec<_> = args[1..].iter().map(|section| section.to_ascii_lowercase()).collect();
    let everything = wanted.iter().any(|name| matches!(&name[..], b"all" | b"default" | b"everything"));
    let mut text = String::new();
    for (name, lines) in sections {
        if wanted.is_empty() || everything || wanted.iter().any(|wanted| wanted == name.as_bytes()) {
            let separator = if text.is_empty() { "" } else { "\r\n" };
            let title = name[..1].to_uppercase() + &name[1..];
            text += &format!("{separator}# {title}\r\n{lines}");
        }
    }
    Reply::Text(text.into())
}
