//! Where the programs of PostgreSQL are. Looks, and starts nothing.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Where Debian, Red Hat, Homebrew and the installer for macOS put the programs, beside the `PATH`. A star is a
/// version.
const PLACES: &[&str] = &[
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/opt/homebrew/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
];

/// The directory of the programs of PostgreSQL, newest first.
pub(crate) fn programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found: Vec<PathBuf> = std::env::split_paths(&path).collect();
    found.extend(PLACES.iter().flat_map(|place| matching(Path::new(place))));
    found
        .into_iter()
        .find(|place| place.join("initdb").is_file() && place.join("pg_ctl").is_file())
}

/// The directories that a place with one star in it stands for, the last first.
fn matching(place: &Path) -> Vec<PathBuf> {
    let parts: Vec<&OsStr> = place.iter().collect();
    let star = |part: &&OsStr| part.to_string_lossy().contains('*');
    let Some(at) = parts.iter().position(star) else {
        return vec![place.to_path_buf()];
    };
    let (before, rest) = parts.split_at(at);
    let (pattern, after) = (rest[0].to_string_lossy(), rest[1..].iter().collect::<PathBuf>());
    let (start, end) = pattern.split_once('*').unwrap_or((&pattern, ""));
    let Ok(entries) = before.iter().collect::<PathBuf>().read_dir() else {
        return Vec::new();
    };
    let fits =
        |name: &str| name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end);
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| fits(&entry.file_name().to_string_lossy()))
        .map(|entry| entry.path().join(&after))
        .collect();
    found.sort_by_key(|path| version(path));
    found.reverse();
    found
}

/// The numbers in a path, so that 17 comes after 9.
fn version(path: &Path) -> Vec<u32> {
    let text = path.to_string_lossy();
    let numbers = text.split(|c: char| !c.is_ascii_digit());
    numbers.filter_map(|number| number.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn of_several_versions_the_newest_comes_first() {
        let directory = std::env::temp_dir().join(format!("postbox-xtask-{}", std::process::id()));
        for version in ["9.6", "17", "15"] {
            fs::create_dir_all(directory.join(version).join("bin")).unwrap();
        }
        let found = matching(&directory.join("*").join("bin"));
        fs::remove_dir_all(&directory).unwrap();
        let names: Vec<_> = found
            .iter()
            .map(|path| path.parent().unwrap().file_name().unwrap())
            .collect();
        assert_eq!(names, ["17", "15", "9.6"]);
    }

    #[test]
    fn a_place_that_is_not_there_has_no_programs() {
        assert!(matching(Path::new("/no/such/place/*/bin")).is_empty());
    }
}
