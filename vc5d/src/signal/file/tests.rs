use proptest::prelude::*;

use super::*;

fn at(last: u8) -> PoolBackend {
    PoolBackend { pool: "web".into(), address: [10, 0, 0, last].into() }
}

fn found(last: u8, missing: Stand, found: Found) -> (PoolBackend, PathBuf, Stand, Found) {
    (at(last), PathBuf::from(format!("/run/web/10.0.0.{last}")), missing, found)
}

fn text(text: &str) -> Found {
    Found::Text(text.into())
}

fn report(stand: Stand, weight: Option<u32>, reason: Option<&str>) -> Report {
    Report { stand, weight, reason: reason.map(str::to_owned) }
}

#[test]
fn the_first_line_tells() {
    let read = |text: &str| parse(text.as_bytes());
    assert_eq!(read("up"), Ok(report(Stand::Up, None, None)));
    assert_eq!(read("  drain\r\ndown\n"), Ok(report(Stand::Drain, None, None)));
    assert_eq!(read("down disk  full\n"), Ok(report(Stand::Down, None, Some("disk  full"))));
    assert_eq!(read("weight 50\tcold"), Ok(report(Stand::Up, Some(50), Some("cold"))));
    assert_eq!(read("down a\u{1b}[1mb"), Ok(report(Stand::Down, None, Some("a [1mb"))));
}

#[test]
fn garbage_is_told_with_file_and_line_and_what_was_said_stands() {
    let mut watch = Watch::default();
    let down = report(Stand::Down, None, None);
    let news = watch.handle(vec![found(1, Stand::Up, text("down"))]);
    assert_eq!(news, [News::Signal(signal(at(1), Some(down)))]);
    for (garbage, named) in [
        (text("Down"), ":1: `Down` is not up, drain, down or weight N"),
        (text(""), ":1: up, drain, down or weight N is missing"),
        (text("weight"), ":1: `` is not a weight from 1 to 1000"),
        (text("weight 1001"), ":1: `1001` is not a weight"),
        (text("\nup"), ":1: up, drain, down or weight N is missing"),
        (Found::Text(vec![0xff]), ":not UTF-8 text"),
        (Found::Text(vec![b'x'; MAX_SIZE + 1]), ":longer than 4096 bytes"),
        (Found::Unreadable(" Permission denied".into()), ": Permission denied"),
    ] {
        let news = watch.handle(vec![found(1, Stand::Up, garbage.clone())]);
        let [News::Problem(said)] = news.as_slice() else { panic!("{news:?}") };
        assert!(said.starts_with(&format!("/run/web/10.0.0.1{named}")), "{said}");
        assert!(said.ends_with("; what it said before stands"), "{said}");
        assert_eq!(watch.handle(vec![found(1, Stand::Up, garbage)]), [], "it is said once");
    }
    let news = watch.handle(vec![found(1, Stand::Up, text("up"))]);
    assert_eq!(news, [News::Signal(signal(at(1), Some(report(Stand::Up, None, None))))]);
}

#[test]
fn a_missing_file_means_what_is_configured() {
    let none = Some("there is no file");
    for (missing, expected) in [
        (Stand::Up, None),
        (Stand::Drain, Some(report(Stand::Drain, None, none))),
        (Stand::Down, Some(report(Stand::Down, None, none))),
    ] {
        let mut watch = Watch::default();
        watch.handle(vec![found(1, missing, text("weight 5"))]);
        let news = watch.handle(vec![found(1, missing, Found::Missing)]);
        assert_eq!(news, [News::Signal(signal(at(1), expected))]);
    }
}

#[test]
fn a_pool_without_files_any_more_has_nothing_said() {
    let mut watch = Watch::default();
    watch.handle(vec![found(1, Stand::Up, text("down")), found(2, Stand::Up, Found::Missing)]);
    assert_eq!(watch.handle(Vec::new()), [News::Signal(signal(at(1), None))]);
    assert_eq!(watch.handle(Vec::new()), []);
}

#[test]
fn each_backend_has_its_file() {
    let settings = Settings { path: "/run/{backend}/state".into(), missing: Stand::Up };
    let file = |address: &str| settings.file(address.parse().unwrap());
    assert_eq!(file("10.0.0.1"), PathBuf::from("/run/10.0.0.1/state"));
    assert_eq!(file("2001:DB8::1"), PathBuf::from("/run/2001:db8::1/state"));
}

proptest! {
    #[test]
    fn any_bytes_are_a_report_or_a_problem_of_one_line(
        head in "(up|down|drain|weight)? ?", tail in prop::collection::vec(any::<u8>(), 0..300)
    ) {
        let bytes: Vec<u8> = head.bytes().chain(tail).collect();
        match parse(&bytes) {
            Ok(report) => {
                let reason = report.reason.unwrap_or_default();
                prop_assert!(reason.len() <= MAX_REASON && !reason.chars().any(char::is_control));
            }
            Err(why) => prop_assert!(!why.contains('\n') && why.len() < 200),
        }
    }

    /// What the core was told last is what the last file that could be understood said.
    #[test]
    fn the_last_good_stands(texts in prop::collection::vec("up|down|drain|weight [0-9]{1,4}|\\PC{0,9}", 1..30)) {
        let (mut watch, mut told, mut good) = (Watch::default(), None, None);
        for line in &texts {
            if let Ok(report) = parse(line.as_bytes()) {
                good = Some(report);
            }
            for news in watch.handle(vec![found(1, Stand::Up, text(line))]) {
                if let News::Signal(Signal::Report { report, .. }) = news {
                    prop_assert!(told != report);
                    told = report;
                }
            }
            prop_assert_eq!(&told, &good);
        }
    }
}
