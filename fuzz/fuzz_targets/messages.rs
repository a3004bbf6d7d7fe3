//! See `fuzz_targets::messages`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    fuzz_targets::messages(data);
});
