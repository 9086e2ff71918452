//! Parts of a document that are written by a program: between two marks that name them.

use std::path::Path;

use crate::error::{Error, Result};

/// The text with `content` between the marks of `name`. The text around them stays as it is.
pub(crate) fn replace(text: &str, name: &str, content: &str, path: &Path) -> Result<String> {
    let (begin, end) = (format!("<!-- {name}: written by cargo xtask -->"), format!("<!-- end of {name} -->"));
    let unmarked = || Error::Content { path: path.into(), what: format!("the line `{begin}` or `{end}` is missing") };
    let (before, rest) = text.split_once(&begin).ok_or_else(unmarked)?;
    let (_, after) = rest.split_once(&end).ok_or_else(unmarked)?;
    Ok(format!("{before}{begin}\n{content}{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_changes() {
        let text = "a\n<!-- x: written by cargo xtask -->\nold\n<!-- end of x -->\nb\n";
        let new = replace(text, "x", "new\n", Path::new("t")).unwrap();
        assert_eq!(new, "a\n<!-- x: written by cargo xtask -->\nnew\n<!-- end of x -->\nb\n");
        assert_eq!(replace(&new, "x", "new\n", Path::new("t")).unwrap(), new);
        assert!(replace("no marks", "x", "", Path::new("t")).is_err());
    }
}
