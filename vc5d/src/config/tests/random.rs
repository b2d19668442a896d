//! Whatever the text, reading it ends with a configuration or with errors that each have one line.

use proptest::prelude::*;

use super::parse;

const GOOD: &str = include_str!("good.toml");

/// Reads a text that has no `include`, so that no file of the machine is opened, and looks at the result.
fn survives(text: &str) -> Result<(), TestCaseError> {
    let text = text.replace("include", "exclude").replace("hash-key-file", "hash-key");
    if let Err(errors) = parse(&text) {
        prop_assert!(errors.count() > 0);
        let lines = errors.to_string().lines().count();
        prop_assert_eq!(lines, errors.count(), "{}", errors);
        for error in errors.iter() {
            let (line, _) = error.at.expect("every error in a text has a place");
            prop_assert!(line <= text.split('\n').count(), "{}", error);
        }
    }
    Ok(())
}

/// Pieces of the language, which random text alone would hardly ever hit.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(GOOD.lines().map(|line| format!("{line}\n")).collect::<Vec<_>>()),
        prop::sample::select(
            ["[", "]", "[[", "]]", "{", "}", "=", "\"", "'", "\n", ".", ",", "-1", "0x", "\u{0}"]
                .map(str::to_owned)
                .to_vec()
        ),
        "\\PC{0,8}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn any_text(text in any::<String>()) {
        survives(&text)?;
    }

    #[test]
    fn pieces_of_configurations(pieces in prop::collection::vec(piece(), 0..40)) {
        survives(&pieces.concat())?;
    }

    #[test]
    fn a_good_file_with_a_part_replaced(
        start in 0..GOOD.len(),
        length in 0..40_usize,
        insert in piece(),
    ) {
        let end = (start + length).min(GOOD.len());
        survives(&format!("{}{insert}{}", &GOOD[..start], &GOOD[end..]))?;
    }

    #[test]
    fn lines_left_out_and_swapped(
        order in prop::collection::vec(0..GOOD.lines().count(), 0..80),
    ) {
        let lines: Vec<&str> = GOOD.lines().collect();
        let text: Vec<&str> = order.into_iter().map(|index| lines[index]).collect();
        survives(&text.join("\n"))?;
    }
}
