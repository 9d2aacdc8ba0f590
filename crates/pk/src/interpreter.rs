//! Why a PROG that is there cannot run: what the kernel would have started for it.

use crate::search::is_missing;
use nix::errno::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Why a file that is there could not be executed, as far as its first bytes tell.
pub fn why_not(path: &Path, errno: Errno) -> Option<String> {
    let mut head = Vec::new();
    File::open(path).ok()?.take(4096).read_to_end(&mut head).ok()?;
    let missing = |interpreter: &Path| is_missing(errno) && !interpreter.exists();
    match interpreter(&head) {
        Some(interpreter) if missing(&interpreter) => {
            Some(format!("{path:?} is there; its interpreter {interpreter:?} is not"))
        }
        None if errno == Errno::ENOEXEC && !head.starts_with(b"\x7fELF") => Some(format!(
            "{path:?} has no #! line; name its interpreter, as in: sh {}",
            path.display()
        )),
        _ if errno == Errno::ENOEXEC => {
            Some(format!("{path:?} is made for another kind of processor"))
        }
        _ => None,
    }
}

/// The program that the kernel starts for a file: of a script's `#!` line, or an ELF file's
/// dynamic loader. `execve(2)`, `elf(5)`.
fn interpreter(head: &[u8]) -> Option<PathBuf> {
    let path = |bytes: &[u8]| Some(PathBuf::from(OsStr::from_bytes(bytes)));
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = line.split(|&byte| byte == b'\n').next()?.trim_ascii_start();
        return path(line.split(u8::is_ascii_whitespace).next()?);
    }
    let number = |at: usize, size: usize| {
        let bytes = head.get(at..at.checked_add(size)?)?;
        bytes
            .iter()
            .rev()
            .try_fold(0_usize, |sum, &byte| sum.checked_mul(256)?.checked_add(byte.into()))
    };
    // Only 64-bit little-endian files are read further.
    if !head.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let (table, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    for index in 0..count {
        let entry = table.checked_add(index * size)?;
        if number(entry, 4)? == 3 {
            let (offset, length) = (number(entry + 8, 8)?, number(entry + 32, 8)?);
            let name = head.get(offset..offset.checked_add(length)?)?;
            return path(name.strip_suffix(b"\0").unwrap_or(name));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interpreter_is_read_from_the_first_bytes() {
        assert_eq!(interpreter(b"#!/bin/sh -e\necho"), Some("/bin/sh".into()));
        assert_eq!(interpreter(b"#! /usr/bin/env python3\n"), Some("/usr/bin/env".into()));
        assert_eq!(interpreter(b"echo"), None);
        let mut elf = vec![0; 200];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        (elf[32], elf[54], elf[56]) = (64, 56, 1);
        (elf[64], elf[64 + 8], elf[64 + 32]) = (3, 130, 8);
        elf[130..138].copy_from_slice(b"/lib/ld\0");
        assert_eq!(interpreter(&elf), Some("/lib/ld".into()));
        for length in 0..elf.len() {
            interpreter(&elf[..length]);
        }
        elf[64 + 8..64 + 16].fill(0xff);
        assert_eq!(interpreter(&elf), None);
    }
}
