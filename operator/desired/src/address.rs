//! Where a short host name in an object's url leads: to a Service of the object's own namespace.

use std::borrow::Cow;

/// The schemes whose urls name a host.
const SCHEMES: [&str; 4] = ["redis", "rediss", "valkey", "valkeys"];

/// `url`, written so that it leads from any namespace to where it leads from `namespace`.
///
/// Pods look a name without a dot up in their own namespace, and the operator would look it up in its own. User,
/// password, port, database and parameters stay as they are; so does a host that is an address, has a dot, or is
/// `localhost`. With TLS, the certificate must name what is looked up: `<host>.<namespace>.svc`.
#[must_use]
pub fn from_anywhere<'a>(url: &'a str, namespace: &str) -> Cow<'a, str> {
    let Some((scheme, rest)) = url.split_once("://") else { return url.into() };
    if !SCHEMES.iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return url.into();
    }
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    let host_at = authority.rfind('@').map_or(0, |at| at + 1);
    let host = &authority[host_at..];
    // An IPv6 address begins with a bracket, and has colons of its own.
    let host = &host[..host.find(':').unwrap_or(host.len())];
    if host.is_empty() || host.contains(['.', '[']) || host.eq_ignore_ascii_case("localhost") {
        return url.into();
    }
    let (before, after) = rest.split_at(host_at + host.len());
    format!("{scheme}://{before}.{namespace}.svc{after}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_dot_is_a_service_of_the_objects_namespace() {
        for (url, expected) in [
            ("redis://redis", "redis://redis.shop.svc"),
            ("redis://redis:6379", "redis://redis.shop.svc:6379"),
            ("rediss://redis:6380/2", "rediss://redis.shop.svc:6380/2"),
            ("redis://redis/2?protocol=resp3", "redis://redis.shop.svc/2?protocol=resp3"),
            ("redis://redis?db=2#x", "redis://redis.shop.svc?db=2#x"),
            ("redis://me:p%40ss.w:rd@redis:6379/1", "redis://me:p%40ss.w:rd@redis.shop.svc:6379/1"),
            ("redis://:secret@redis", "redis://:secret@redis.shop.svc"),
            ("VALKEY://cache-0", "VALKEY://cache-0.shop.svc"),
        ] {
            assert_eq!(from_anywhere(url, "shop"), expected, "{url}");
        }
    }

    #[test]
    fn everything_else_stays() {
        for url in [
            "redis://redis.data:6379",
            "redis://redis.data.svc.cluster.local",
            "redis://redis.",
            "redis://localhost:6379",
            "redis://LocalHost",
            "redis://10.0.0.7:6379/1",
            "redis://me:dotless@10.0.0.7",
            "redis://[::1]:6379",
            "redis://[fe80::1]",
            "unix:///run/redis.sock?user=a&pass=b",
            "redis+unix:///redis",
            "redis://",
            "redis://user@",
            "redis://:6379",
            "no url at all",
            "",
        ] {
            assert_eq!(from_anywhere(url, "shop"), url);
        }
    }
}
