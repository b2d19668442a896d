//! Times as the control socket prints them.

/// What a reader needs to print times: the present, the zone and the form asked for.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Now, in Unix seconds.
    pub now: f64,
    /// Seconds east of Greenwich at a Unix time.
    pub zone: fn(i64) -> i64,
    /// The form set by `timeformat`; without one, each place has its own.
    pub format: Option<TimeFormat>,
}

/// `timeformat iso short|long [ms|us]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeFormat {
    /// Date and time; else the time of day, or the date alone when that was more than 20 hours ago.
    pub long: bool,
    /// Digits after the second: 0, 3 or 6.
    pub digits: usize,
}

/// Age in seconds from which the short form shows the date.
const SHORT_LIMIT: f64 = 20.0 * 3600.0;

impl Clock {
    /// A time in a table: date and time to the second, the one form that every scraper of `show protocols`
    /// reads as a time.
    #[must_use]
    pub fn table(&self, at: f64) -> String {
        self.print(at, TimeFormat { long: true, digits: 0 })
    }

    /// A time in `show status`: to the millisecond.
    #[must_use]
    pub fn exact(&self, at: f64) -> String {
        self.print(at, TimeFormat { long: true, digits: 3 })
    }

    /// How long ago, as `12 s`, `3 m 20 s`, `5 h 12 m` or `3 d 4 h`.
    #[must_use]
    pub fn ago(&self, at: f64) -> String {
        let seconds = (self.now - at).max(0.0) as u64;
        let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
        match (days, hours, minutes) {
            (0, 0, 0) => format!("{seconds} s"),
            (0, 0, _) => format!("{minutes} m {} s", seconds % 60),
            (0, _, _) => format!("{hours} h {} m", minutes % 60),
            _ => format!("{days} d {} h", hours % 24),
        }
    }

    fn print(&self, at: f64, own: TimeFormat) -> String {
        let format = self.format.unwrap_or(own);
        let at = if at.is_finite() { at.clamp(0.0, 253_402_300_799.0) } else { 0.0 };
        // Rounding once, to microseconds, keeps 0.9999999 from printing as a second that has not come yet.
        let micros = (at * 1e6).round() as i64;
        let local = micros.div_euclid(1_000_000) + (self.zone)(micros.div_euclid(1_000_000));
        let (year, month, day) = civil(local.div_euclid(86400));
        let second = local.rem_euclid(86400);
        let date = format!("{year:04}-{month:02}-{day:02}");
        let mut time = format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60);
        let fraction = format!("{:06}", micros.rem_euclid(1_000_000));
        if let Some(digits) = fraction.get(..format.digits).filter(|digits| !digits.is_empty()) {
            time.push('.');
            time.push_str(digits);
        }
        match (format.long, self.now - at > SHORT_LIMIT) {
            (true, _) => format!("{date} {time}"),
            (false, true) => date,
            (false, false) => time,
        }
    }
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar.
///
/// Counts in years that begin in March, so that the leap day is the last of its year.
fn civil(days: i64) -> (i64, i64, i64) {
    const DAYS_IN_400_YEARS: i64 = 146_097;
    const MARCH_0000_TO_1970: i64 = 719_468;
    let shifted = days + MARCH_0000_TO_1970;
    let era = shifted.div_euclid(DAYS_IN_400_YEARS);
    let day_of_era = shifted.rem_euclid(DAYS_IN_400_YEARS);
    let leaps = day_of_era / 1_460 - day_of_era / 36_524 + day_of_era / 146_096;
    let year_of_era = (day_of_era - leaps) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(format: Option<TimeFormat>) -> Clock {
        Clock { now: 1_790_000_000.0, zone: |_| 7200, format }
    }

    #[test]
    fn days_become_dates() {
        for (days, date) in [
            (0, (1970, 1, 1)),
            (58, (1970, 2, 28)),
            (59, (1970, 3, 1)),
            (789, (1972, 2, 29)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (20_781, (2026, 11, 24)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
        ] {
            assert_eq!(civil(days), date, "{days}");
        }
    }

    #[test]
    fn each_place_has_its_form_until_another_is_set() {
        let at = 1_790_000_000.0 - 1.5;
        assert_eq!(clock(None).table(at), "2026-09-21 16:13:18");
        assert_eq!(clock(None).exact(at), "2026-09-21 16:13:18.500");
        let short = Some(TimeFormat { long: false, digits: 6 });
        assert_eq!(clock(short).table(at), "16:13:18.500000");
        assert_eq!(clock(short).exact(at - 80_000.0), "2026-09-20");
    }

    #[test]
    fn impossible_times_are_still_printed() {
        assert_eq!(clock(None).table(f64::NAN), "1970-01-01 02:00:00");
        assert_eq!(clock(None).table(-5.0), "1970-01-01 02:00:00");
        assert!(clock(None).table(f64::INFINITY).starts_with("1970"));
    }

    #[test]
    fn ages_show_two_units() {
        let clock = clock(None);
        for (age, text) in [
            (0.4, "0 s"),
            (59.0, "59 s"),
            (61.0, "1 m 1 s"),
            (3600.0 * 5.0 + 60.0 * 12.0, "5 h 12 m"),
            (86400.0 * 3.0 + 3600.0 * 4.0, "3 d 4 h"),
            (-10.0, "0 s"),
        ] {
            assert_eq!(clock.ago(clock.now - age), text);
        }
    }
}
