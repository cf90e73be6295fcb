//! The target of an HTTP request: segments and parameters, percent-decoded.

/// Percent-decodes; `None` when a `%` is not followed by two hexadecimal digits. `+` stays a plus.
pub fn percent_decode(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    loop {
        match rest {
            [] => return Some(out),
            [b'%', high, low, tail @ ..] => {
                let (high, low) = (char::from(*high).to_digit(16)?, char::from(*low).to_digit(16)?);
                out.push(u8::try_from(high << 4 | low).ok()?);
                rest = tail;
            }
            [b'%', ..] => return None,
            [byte, tail @ ..] => {
                out.push(*byte);
                rest = tail;
            }
        }
    }
}

/// Path and query, without the `?` between them. A target in absolute form loses its scheme and authority.
pub fn split(target: &str) -> (&str, Option<&str>) {
    let path = match target.split_once("://") {
        Some((scheme, rest)) if !scheme.contains(['/', '?']) => {
            rest.find('/').map_or("/", |slash| &rest[slash..])
        }
        _ => target,
    };
    match path.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path, None),
    }
}

/// The values of a query's parameters with this name, still percent-encoded.
pub fn parameters<'a>(query: Option<&'a str>, name: &'a str) -> impl Iterator<Item = &'a str> {
    query.unwrap_or_default().split('&').filter_map(move |pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_decoded_byte_by_byte() {
        assert_eq!(percent_decode("user%3A1%2fx+%ff"), Some(b"user:1/x+\xff".to_vec()));
        assert_eq!(percent_decode("%"), None);
        assert_eq!(percent_decode("%4"), None);
        assert_eq!(percent_decode("%zz"), None);
    }

    #[test]
    fn targets_are_cut_into_path_and_query() {
        assert_eq!(split("/cache/a?ttl=1?2"), ("/cache/a", Some("ttl=1?2")));
        assert_eq!(split("http://h/cache/a"), ("/cache/a", None));
        assert_eq!(split("http://h"), ("/", None));
        assert_eq!(split("/cache/http://x"), ("/cache/http://x", None));
        assert_eq!(parameters(Some("a=1&ttl=2&ttl"), "ttl").collect::<Vec<_>>(), ["2", ""]);
        assert_eq!(parameters(None, "ttl").count(), 0);
    }
}
