//! Any bytes as a layer, applied to a root beside which nothing may change.
#![no_main]

include!("../modules.rs");
#[path = "../mend.rs"]
mod mend;

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, _seed: u32| {
    let size = fuzzer_mutate(data, size, max_size);
    mend::mend(&mut data[..size]);
    size
});

// Two layers of the same bytes: the second one meets all that the first one made.
fuzz_target!(|tar: &[u8]| sandbox::apply(&[tar, tar]));
