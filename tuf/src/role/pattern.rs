//! Path patterns of delegations (specification 1.0.34, section 4.5): the shell's `*`, `?` and `[...]`, within a segment.

/// Whether `path` matches `pattern`. Case counts, and no wildcard matches a `/`.
pub(crate) fn matches(pattern: &str, path: &str) -> bool {
    let (mut patterns, mut segments) = (pattern.split('/'), path.split('/'));
    loop {
        match (patterns.next(), segments.next()) {
            (None, None) => return true,
            (Some(pattern), Some(segment)) => {
                let pattern: Vec<char> = pattern.chars().collect();
                let segment: Vec<char> = segment.chars().collect();
                if !segment_matches(&pattern, &segment) {
                    return false;
                }
            }
            _ => return false,
        }
    }
}

/// Goes back to the last `*` alone: the work is at most the product of the lengths, whatever the pattern.
fn segment_matches(pattern: &[char], text: &[char]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                p += 1;
                star = Some((p, t));
                continue;
            }
            Some('?') => {
                p += 1;
                t += 1;
                continue;
            }
            Some('[') => {
                if let Some((matched, after)) = class(&pattern[p..], text[t]) {
                    if matched {
                        p += after;
                        t += 1;
                        continue;
                    }
                } else if text[t] == '[' {
                    p += 1;
                    t += 1;
                    continue;
                }
            }
            Some(literal) if *literal == text[t] => {
                p += 1;
                t += 1;
                continue;
            }
            _ => {}
        }
        match &mut star {
            Some((after_star, from)) => {
                *from += 1;
                p = *after_star;
                t = *from;
            }
            None => return false,
        }
    }
    pattern[p..].iter().all(|rest| *rest == '*')
}

/// Whether `found` is in the class that `pattern` begins with, and the class's length; `None` if it does not end.
fn class(pattern: &[char], found: char) -> Option<(bool, usize)> {
    let negated = pattern.get(1) == Some(&'!');
    let first = if negated { 2 } else { 1 };
    // A `]` that comes first stands for itself.
    let end = (first + 1..pattern.len()).find(|at| pattern[*at] == ']')?;
    let (mut matched, mut at) = (false, first);
    while at < end {
        if at + 2 < end && pattern[at + 1] == '-' {
            matched |= (pattern[at]..=pattern[at + 2]).contains(&found);
            at += 3;
        } else {
            matched |= pattern[at] == found;
            at += 1;
        }
    }
    Some((matched != negated, end + 1))
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn the_specifications_examples() {
        assert!(matches("targets/*.tgz", "targets/foo.tgz"));
        assert!(!matches("targets/*.tgz", "targets/foo.txt"));
        assert!(matches("foo-version-?.tgz", "foo-version-2.tgz"));
        assert!(!matches("foo-version-?.tgz", "foo-version-alpha.tgz"));
        assert!(matches("*.tgz", "bar.tgz"));
        assert!(!matches("*.tgz", "targets/foo.tgz"));
        assert!(matches("foo.tgz", "foo.tgz"));
        assert!(!matches("foo.tgz", "foo.tgz2"));
    }

    #[test]
    fn no_wildcard_crosses_a_slash() {
        for pattern in ["*", "a*c", "a?c", "a[/]c", "a[!x]c", "**"] {
            assert!(!matches(pattern, "a/c"), "{pattern}");
        }
        assert!(matches("*/*", "a/c"));
        assert!(!matches("*/*", "a/b/c"));
        assert!(!matches("**/c", "a/b/c"));
        assert!(!matches("a/", "a"));
    }

    #[test]
    fn case_counts() {
        assert!(!matches("*.md", "README.MD"));
    }

    #[test]
    fn classes() {
        assert!(matches("v[0-9].bin", "v7.bin"));
        assert!(!matches("v[!0-9].bin", "v7.bin"));
        assert!(matches("[]x]", "]"));
        assert!(matches("a[b", "a[b"));
        assert!(!matches("a[b", "ab"));
        assert!(matches("*[ab]*", "xxbxx"));
    }

    #[test]
    fn a_hostile_pattern_costs_no_more_than_its_length_times_the_paths() {
        let pattern = format!("{}b", "a*".repeat(2_000));
        assert!(!matches(&pattern, &"a".repeat(10_000)));
    }

    #[test]
    fn a_star_matches_nothing_too() {
        assert!(matches("*", ""));
        assert!(matches("a*", "a"));
        assert!(matches("*a*b*", "aXab"));
        assert!(!matches("?", ""));
    }
}
