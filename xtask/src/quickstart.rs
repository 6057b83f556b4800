//! Judges the quickstart by its last line, since an exit code alone can succeed without having done anything.
//!
//! The last line names each figure before its number, for example
//! `committed 1000 = published 1000, lost 0, duplicates 2, order violations 0`.

/// Whether the figures say that something was done and nothing was lost.
pub(crate) fn judge(line: &str) -> Result<(), String> {
    let figure = |name: &str| figure(line, name).ok_or_else(|| format!("`{name} <number>` is not in it"));
    let (committed, published) = (figure("committed")?, figure("published")?);
    figure("duplicates")?;
    if committed == 0 {
        return Err(String::from("nothing was committed"));
    }
    if committed != published {
        return Err(format!("committed {committed}, but published {published}"));
    }
    match (figure("lost")?, figure("violations")?) {
        (0, 0) => Ok(()),
        (lost, violations) => Err(format!("lost {lost}, order violations {violations}")),
    }
}

/// The number that follows `name`, past spaces, `=` and `:`, with or without separators of thousands.
fn figure(line: &str, name: &str) -> Option<u64> {
    let line = line.to_lowercase();
    let after = line.split_once(name)?.1.trim_start_matches([' ', '=', ':', '\t']);
    let digits = after
        .split(|c: char| !c.is_ascii_digit() && c != '_' && c != ',')
        .next()?;
    digits.replace(['_', ','], "").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_that_agree_are_accepted() {
        assert_eq!(
            judge("committed 1000 = published 1000, lost 0, duplicates 2, order violations 0"),
            Ok(())
        );
        assert_eq!(
            judge("Committed: 12,000  published: 12,000  lost: 0  duplicates: 0  violations: 0"),
            Ok(())
        );
    }

    #[test]
    fn a_lost_message_is_refused() {
        assert!(judge("committed 10 = published 10, lost 1, duplicates 0, order violations 0").is_err());
        assert!(judge("committed 10 = published 9, lost 0, duplicates 0, order violations 0").is_err());
    }

    #[test]
    fn a_violated_order_is_refused() {
        assert!(judge("committed 10 = published 10, lost 0, duplicates 0, order violations 1").is_err());
    }

    #[test]
    fn doing_nothing_is_refused() {
        assert!(judge("committed 0 = published 0, lost 0, duplicates 0, order violations 0").is_err());
    }

    #[test]
    fn a_line_without_figures_is_refused() {
        assert!(judge("all good").is_err());
        assert!(judge("").is_err());
        assert!(judge("committed some = published some, lost 0, duplicates 0, violations 0").is_err());
    }
}
