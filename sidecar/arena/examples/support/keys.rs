//! Keys by number, sixteen bytes each.

/// A key.
pub(crate) type Key = [u8; 16];

/// The key of this number.
pub(crate) fn key_of(n: u64) -> Key {
    let mut key = *b"key:000000000000";
    let mut rest = n;
    for byte in key[4..].iter_mut().rev() {
        *byte = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    key
}
