//! See `fuzz_targets::topic_filters`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    fuzz_targets::topic_filters(data);
});
