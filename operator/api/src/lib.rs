//! Our kinds, their rules, names, conditions: no client, no tokio.
