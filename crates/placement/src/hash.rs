//! Hashing for choices that nothing stored depends on: versions may disagree, and cost a client nothing but affinity.

/// FNV-1a, then [`mix`].
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let fnv = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    mix(fnv)
}

/// One hash from two numbers.
pub(crate) fn combine(a: u64, b: u64) -> u64 {
    mix(a ^ mix(b.wrapping_add(0x9e37_79b9_7f4a_7c15)))
}

/// A number below `below` for a hash; zero when `below` is zero.
pub(crate) fn below(hash: u64, below: u64) -> u64 {
    // The product of two 64-bit numbers, shifted right by 64, is below both.
    ((u128::from(hash) * u128::from(below)) >> 64) as u64
}

/// The finaliser of SplitMix64: without it, keys that differ in their last byte alone stay neighbours.
fn mix(mut hash: u64) -> u64 {
    hash ^= hash >> 30;
    hash = hash.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash ^= hash >> 27;
    hash = hash.wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}
