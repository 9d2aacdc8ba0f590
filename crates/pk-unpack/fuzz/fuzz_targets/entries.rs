//! Any bytes as a tar: the parser ends, and how the bytes come in pieces makes no difference.
#![no_main]

#[path = "../../src/entry.rs"]
#[allow(dead_code)]
mod entry;
#[path = "../mend.rs"]
mod mend;
#[path = "../../src/metadata.rs"]
mod metadata;
#[path = "../../src/pax.rs"]
#[allow(dead_code)]
mod pax;
#[path = "../../src/sparse.rs"]
mod sparse;

use entry::{Entries, Skip};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use std::io::BufReader;

impl Skip for BufReader<&[u8]> {}

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, _seed: u32| {
    let size = fuzzer_mutate(data, size, max_size);
    mend::mend(&mut data[..size]);
    size
});

fuzz_target!(|tar: &[u8]| {
    assert_eq!(read(BufReader::with_capacity(7, tar)), read(BufReader::with_capacity(1 << 16, tar)));
});

/// All that is to be known of an archive, in words.
fn read(tar: BufReader<&[u8]>) -> String {
    let mut entries = Entries::new(tar);
    let mut found = String::new();
    loop {
        match entries.next_entry() {
            Ok(Some(entry)) => found += &format!("{entry:?} at {}\n", entries.position()),
            Ok(None) => return found,
            Err(error) => return format!("{found}{error}"),
        }
        loop {
            match entries.contents().map(<[u8]>::len) {
                Ok(0) => break,
                Ok(count) => entries.consume(count),
                Err(error) => return format!("{found}{error}"),
            }
        }
    }
}
