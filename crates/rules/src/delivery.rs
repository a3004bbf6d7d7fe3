//! What becomes of an action after an attempt.

/// Attempts after the first; the waits between them add up to 47 minutes.
pub const MAXIMUM_RETRIES: u32 = 12;

/// The longest wait between two attempts, in seconds.
const MAXIMUM_DELAY_SECS: u32 = 900;

/// What to do with an action that has been tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is done.
    Delivered,
    /// Try it again after this many seconds.
    Retry {
        /// Doubles with each attempt.
        delay_secs: u32,
    },
    /// Trying again is of no use, or has been tried often enough.
    GiveUp,
}

/// Judges an attempt at an `http` action by the HTTP status, `None` when there was no answer; `attempt` counts the
/// attempts before this one.
///
/// As with AWS ("HTTP action error handling"), an answer that says the request itself is wrong is final; no answer, a
/// server's error, 408 and 429 are not.
#[must_use]
pub const fn judge(status: Option<u16>, attempt: u32) -> Verdict {
    match status {
        Some(200..=299) => Verdict::Delivered,
        Some(408 | 429 | 500..) | None if attempt < MAXIMUM_RETRIES => {
            let doubled = 1_u32 << if attempt > 16 { 16 } else { attempt };
            let delay_secs = if doubled > MAXIMUM_DELAY_SECS { MAXIMUM_DELAY_SECS } else { doubled };
            Verdict::Retry { delay_secs }
        }
        Some(_) | None => Verdict::GiveUp,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_is_judged_by_its_status_and_by_those_before_it() {
        for (status, attempt, verdict) in [
            (Some(200), 0, Verdict::Delivered),
            (Some(204), 99, Verdict::Delivered),
            (Some(301), 0, Verdict::GiveUp),
            (Some(400), 0, Verdict::GiveUp),
            (Some(404), 3, Verdict::GiveUp),
            (Some(408), 0, Verdict::Retry { delay_secs: 1 }),
            (Some(429), 1, Verdict::Retry { delay_secs: 2 }),
            (Some(500), 3, Verdict::Retry { delay_secs: 8 }),
            (None, 11, Verdict::Retry { delay_secs: 900 }),
            (None, 12, Verdict::GiveUp),
            (Some(503), 12, Verdict::GiveUp),
        ] {
            assert_eq!(judge(status, attempt), verdict, "{status:?} after {attempt}");
        }
    }
}
