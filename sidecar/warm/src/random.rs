//! What the kernel says of this boot, and words of its that nobody has had before.

use std::fs;

/// A name that nobody else has.
pub(crate) fn token() -> std::io::Result<u128> {
    let text = fs::read_to_string("/proc/sys/kernel/random/uuid")?;
    parse(&text).ok_or_else(|| std::io::Error::other("the kernel gives no random name"))
}

/// The name of this boot of the machine; 0 where the kernel does not tell.
pub(crate) fn boot() -> u128 {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").ok().and_then(|text| parse(&text)).unwrap_or(0)
}

/// The number that 32 hexadecimal digits with any dashes between them name.
pub(crate) fn parse(text: &str) -> Option<u128> {
    let digits = text.trim_end().replace('-', "");
    let is_hex = digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| u128::from_str_radix(&digits, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boots_have_one_name_and_tokens_never_the_same() {
        assert!(boot() != 0 && boot() == boot());
        assert_ne!(token().unwrap(), token().unwrap());
        assert_eq!(parse("00000000-0000-0000-0000-0000000000ff\n"), Some(255));
        assert_eq!(parse("+0000000-0000-0000-0000-0000000000ff"), None);
    }
}
