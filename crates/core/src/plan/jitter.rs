//! How late a run starts on purpose.
//!
//! Owns one invariant: the delay is a pure function of the job, the instant and the room there
//! is, the same on every platform and in every release, so that previews show what will happen
//! and two schedulers agree.

/// The output function of splitmix64 (Steele, Lea and Flood, 2014): every input bit changes half
/// of the output bits.
pub(crate) const fn splitmix(state: u64) -> u64 {
    let z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// A delay from 0 to below `room` microseconds for an instant of a job; 0 when there is no room.
///
/// It is `splitmix(splitmix(seed) ^ nominal) mod room`, with both numbers taken as 64-bit words.
pub(super) const fn delay(seed: i64, nominal: i64, room: i64) -> i64 {
    if room <= 0 {
        return 0;
    }
    let hash = splitmix(splitmix(seed.cast_unsigned()) ^ nominal.cast_unsigned());
    (hash % room.cast_unsigned()).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix_is_the_published_one() {
        // The first outputs of the reference program (Vigna, splitmix64.c) for seed 1234567.
        let gamma = 0x9e37_79b9_7f4a_7c15_u64;
        let outputs: Vec<u64> =
            (0..3_u64).map(|i| splitmix(gamma.wrapping_mul(i).wrapping_add(1_234_567))).collect();
        assert_eq!(
            outputs,
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn delays_fill_the_room_evenly() {
        let mut counts = [0_u32; 10];
        for i in 0..10_000 {
            let delay = delay(i % 7, i * 60_000_000, 1_000);
            counts[usize::try_from(delay / 100).unwrap()] += 1;
        }
        assert!(counts.iter().all(|&count| (880..1_120).contains(&count)), "{counts:?}");
        assert_eq!(delay(1, 2, 0), 0);
        assert_eq!(delay(i64::MIN, i64::MAX, 1), 0);
    }
}
