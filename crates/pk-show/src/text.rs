//! Text from outside: host names, mount points and names of processes are any bytes.

use std::fmt::Write;

/// The bytes with everything that is no printable character escaped, as Rust and C write it: what
/// somebody put into a name does nothing to a terminal, and different names stay different.
pub fn printable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' | '\'' => text.push(character),
                _ => text.extend(character.escape_debug()),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// A number of bytes in the units of Docker's and pk's options: `64M`, `1.5G`.
#[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
pub fn size(bytes: u64) -> String {
    let units = [("T", 1_u64 << 40), ("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)];
    match units.into_iter().find(|&(_, unit)| bytes >= unit) {
        None => bytes.to_string(),
        Some((name, unit)) if bytes.is_multiple_of(unit) => format!("{}{name}", bytes / unit),
        Some((name, unit)) => format!("{:.1}{name}", bytes as f64 / unit as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_printable_is_escaped() {
        let table: [(&[u8], &str); 7] = [
            (b"box", "box"),
            ("Küche's \"x\"".as_bytes(), "Küche's \"x\""),
            (b"a\x1b[31mb\n", "a\\u{1b}[31mb\\n"),
            (b"caf\xe9", "caf\\xe9"),
            (b"\\xe9", "\\\\xe9"),
            ("a\u{202e}b".as_bytes(), "a\\u{202e}b"),
            (b"", ""),
        ];
        for (bytes, expected) in table {
            assert_eq!(printable(bytes), expected);
        }
    }

    #[test]
    fn sizes_are_short() {
        let table = [(0, "0"), (1023, "1023"), (1024, "1K"), (64 << 20, "64M"), (3 << 29, "1.5G")];
        for (bytes, expected) in table {
            assert_eq!(size(bytes), expected);
        }
    }
}
