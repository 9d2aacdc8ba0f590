//! Text as the kernel writes it in `/proc`.

/// A field of a `/proc/PID/mountinfo`, in which blanks, line ends and backslashes are `\040` and the
/// like. `proc_pid_mountinfo(5)`.
#[must_use]
pub fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        let octal = after
            .get(..3)
            .filter(|_| first == b'\\')
            .and_then(|digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(octal.unwrap_or(first));
        rest = if octal.is_some() { &after[3..] } else { after };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_after_a_backslash_are_a_byte() {
        let table: &[(&[u8], &[u8])] = &[
            (b"/a\\040b", b"/a b"),
            (b"\\134\\012x", b"\\\nx"),
            (b"\\04", b"\\04"),
            (b"\\999", b"\\999"),
            (b"", b""),
        ];
        for (field, expected) in table {
            assert_eq!(unescaped(field), *expected, "{field:?}");
        }
    }
}
