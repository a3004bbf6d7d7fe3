//! Measuring what a piece of code allocates.

/// Runs `work` and gives its result and the most bytes that it had allocated at once.
pub(crate) fn peak<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let mut result = None;
    let allocations = allocation_counter::measure(|| result = Some(work()));
    let result = result.expect("measure calls its closure");
    (result, allocations.bytes_max)
}
