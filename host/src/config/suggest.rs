//! "Did you mean": the known word that a misspelt one is closest to.

/// The candidate that `word` most likely was meant to be, if one is close enough to be worth
/// saying: at most a third of its letters wrong, or `word` is the beginning of one candidate.
pub(crate) fn closest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let allowed = (word.chars().count() / 3).max(1);
    let folded = word.to_lowercase().replace('-', "_");
    candidates
        .into_iter()
        .filter_map(|candidate| {
            let distance = strsim::osa_distance(&folded, &candidate.to_lowercase());
            let begins = folded.len() >= 3 && candidate.starts_with(&folded);
            // Of two equally near, the one with the same letters was meant: int46 is int64, not int16.
            let other_letters = sorted(&folded) != sorted(candidate);
            (distance <= allowed || begins).then_some((distance, other_letters, candidate))
        })
        .min_by_key(|(distance, other_letters, _)| (*distance, *other_letters))
        .map(|(_, _, candidate)| candidate)
}

/// A hint about an unknown word: the closest known one, or all of them.
pub(crate) fn did_you_mean<'a>(
    word: &str,
    kind: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
) -> String {
    if let Some(candidate) = closest(word, known.clone()) {
        return format!("did you mean `{candidate}`?");
    }
    match listed(known) {
        list if list.is_empty() => String::new(),
        list => format!("{kind}: {list}"),
    }
}

/// Words in backquotes with commas between; a long list is cut.
pub(crate) fn listed<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 20;
    let mut words = words.into_iter();
    let mut shown: Vec<String> = words
        .by_ref()
        .take(SHOWN)
        .map(|word| format!("`{word}`"))
        .collect();
    match words.count() {
        0 => {}
        more => shown.push(format!("and {more} more")),
    }
    shown.join(", ")
}

fn sorted(word: &str) -> Vec<char> {
    let mut letters: Vec<char> = word.chars().collect();
    letters.sort_unstable();
    letters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_suggested_and_far_ones_listed() {
        let known = ["tumbling", "size", "offset", "disorder"];
        assert_eq!(closest("tumblign", known), Some("tumbling"));
        assert_eq!(closest("Offset", known), Some("offset"));
        assert_eq!(closest("dis", known), Some("disorder"));
        assert_eq!(closest("watermark", known), None);
        assert_eq!(did_you_mean("zzz", "known", ["a", "b"]), "known: `a`, `b`");
        assert_eq!(did_you_mean("zzz", "known", []), "");
    }
}
