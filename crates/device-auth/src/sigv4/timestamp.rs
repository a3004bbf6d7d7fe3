//! The three ways SigV4 writes a moment.

use iot_types::UnixMillis;
use time::format_description::well_known::Rfc2822;
use time::{Date, Month, OffsetDateTime};

/// 9999-12-31T23:59:59Z, the last second with four digits for the year.
const LAST_SECOND: u64 = 253_402_300_799;

/// `YYYYMMDDTHHMMSSZ`; a later moment than the last of year 9999 is written as that.
pub(super) fn basic(moment: UnixMillis) -> String {
    let secs = i64::try_from(moment.as_secs().min(LAST_SECOND)).unwrap_or_default();
    let at = OffsetDateTime::from_unix_timestamp(secs).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (date, time) = (at.date(), at.time());
    format!(
        "{:04}{:02}{:02}T{:02}{:02}{:02}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

/// The day of [`basic`], `YYYYMMDD`.
pub(super) fn day(basic: &str) -> &str {
    basic.split_once('T').map_or(basic, |(day, _)| day)
}

/// Reads exactly `YYYYMMDDTHHMMSSZ`, not before 1970.
pub(super) fn parse_basic(text: &str) -> Option<UnixMillis> {
    let (day, time) = text.strip_suffix('Z')?.split_once('T')?;
    if day.len() != 8 || time.len() != 6 || !day.bytes().chain(time.bytes()).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = |text: &str, from: usize, to: usize| text.get(from..to)?.parse::<u16>().ok();
    let short = |text: &str, from: usize| number(text, from, from + 2).and_then(|value| u8::try_from(value).ok());
    let month = Month::try_from(short(day, 4)?).ok()?;
    let date = Date::from_calendar_date(i32::from(number(day, 0, 4)?), month, short(day, 6)?).ok()?;
    let at = date.with_hms(short(time, 0)?, short(time, 2)?, short(time, 4)?).ok()?;
    millis(at.assume_utc())
}

/// Reads the `Date` header (RFC 9110 section 5.6.7, and botocore's `-0000` for `GMT`).
pub(super) fn parse_http_date(text: &str) -> Option<UnixMillis> {
    OffsetDateTime::parse(text, &Rfc2822).ok().and_then(millis)
}

fn millis(at: OffsetDateTime) -> Option<UnixMillis> {
    u64::try_from(at.unix_timestamp()).ok().map(|secs| UnixMillis(0).plus_secs(secs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_times_are_read_exactly_or_not_at_all() {
        for (text, secs) in [
            ("20150830T123600Z", Some(1_440_938_160)),
            ("19700101T000000Z", Some(0)),
            ("20240229T235959Z", Some(1_709_251_199)),
            ("20230229T000000Z", None),
            ("19691231T235959Z", None),
            ("20150830T123660Z", None),
            ("20150830T240000Z", None),
            ("20151330T123600Z", None),
            ("20150830T123600", None),
            ("2015-08-30T12:36:00Z", None),
            ("+2015083T123600Z", None),
            ("20150830T+23600Z", None),
            ("20150830t123600z", None),
            ("２0150830T123600Z", None),
            ("", None),
        ] {
            assert_eq!(parse_basic(text), secs.map(|secs: u64| UnixMillis(secs * 1_000)), "{text}");
            if let Some(moment) = parse_basic(text) {
                assert_eq!(basic(moment), text);
            }
        }
        assert_eq!(basic(UnixMillis(u64::MAX)), "99991231T235959Z");
        assert_eq!(day("20150830T123600Z"), "20150830");
    }

    #[test]
    fn http_dates_are_read() {
        for text in ["Sun, 30 Aug 2015 12:36:00 GMT", "Sun, 30 Aug 2015 12:36:00 -0000"] {
            assert_eq!(parse_http_date(text), Some(UnixMillis(1_440_938_160_000)), "{text}");
        }
        assert_eq!(parse_http_date("yesterday"), None);
    }
}
