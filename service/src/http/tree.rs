//! Which pattern a path fits: a tree of segments, walked once a request.
//!
//! The framework holds a path against one regular expression after the other, and would do so twice: for the door, and for the handler.

/// Patterns such as `/v1/keys/{name}/sign` by their segments.
#[derive(Debug)]
pub(super) struct Tree(Node);

#[derive(Debug, Default)]
struct Node {
    fixed: Vec<(&'static str, Self)>,
    /// `{name}` and what follows it within the segment, longest first.
    named: Vec<(&'static str, Self)>,
    /// Places of the patterns that end here.
    ends: Vec<usize>,
}

impl Tree {
    /// Of patterns that are known by their place.
    pub(super) fn new(patterns: impl Iterator<Item = &'static str>) -> Self {
        let mut root = Node::default();
        for (place, pattern) in patterns.enumerate() {
            let segments = pattern.split('/').skip(1);
            segments.fold(&mut root, Node::child).ends.push(place);
        }
        Self(root)
    }

    /// Places of the patterns that a path fits. Of two, the one with the earlier fixed segment counts.
    pub(super) fn find(&self, path: &str) -> &[usize] {
        let found = path.strip_prefix('/').and_then(|rest| self.0.seek(Segments::of(rest)));
        found.unwrap_or_default()
    }
}

/// Segments of a path. The library's own search for a character is made for long texts, and takes longer than a segment is long.
#[derive(Clone, Copy)]
pub(super) struct Segments<'a>(Option<&'a str>);

impl<'a> Segments<'a> {
    pub(super) const fn of(path: &'a str) -> Self {
        Self(Some(path))
    }
}

impl<'a> Iterator for Segments<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.0.take()?;
        let end = rest.bytes().position(|byte| byte == b'/');
        let (segment, rest) = end.and_then(|end| rest.split_at_checked(end)).unwrap_or((rest, ""));
        self.0 = rest.strip_prefix('/');
        Some(segment)
    }
}

impl Node {
    fn child(&mut self, segment: &'static str) -> &mut Self {
        let named = segment.strip_prefix('{').and_then(|rest| rest.split_once('}'));
        let (children, text) = match named {
            Some((_, behind)) => (&mut self.named, behind),
            None => (&mut self.fixed, segment),
        };
        let place = children.iter().position(|(known, _)| *known == text).unwrap_or_else(|| {
            let place = children.iter().take_while(|(known, _)| known.len() >= text.len()).count();
            children.insert(place, (text, Self::default()));
            place
        });
        // It was found or put there just now.
        #[expect(clippy::indexing_slicing, reason = "see above")]
        &mut children[place].1
    }

    fn seek(&self, mut rest: Segments<'_>) -> Option<&[usize]> {
        let Some(segment) = rest.next() else {
            return (!self.ends.is_empty()).then_some(self.ends.as_slice());
        };
        let fixed = self.fixed.iter().find(|(text, _)| *text == segment);
        if let Some(found) = fixed.and_then(|(_, child)| child.seek(rest)) {
            return Some(found);
        }
        let fits = |behind: &str| segment.len() > behind.len() && segment.ends_with(behind);
        self.named.iter().filter(|(behind, _)| fits(behind)).find_map(|(_, child)| child.seek(rest))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PATTERNS: [&str; 8] = [
        "/v1/keys",
        "/v1/keys/import",
        "/v1/keys/{name}",
        "/v1/keys/{name}",
        "/v1/keys/{name}/sign",
        "/v1/keys/{name}/versions/{version}/public.pem",
        "/v1/secrets/{owner}",
        "/v1/secrets/{owner}:batch",
    ];

    #[test]
    fn paths_fit_the_patterns_that_they_look_like() {
        let tree = Tree::new(PATTERNS.into_iter());
        for (path, places) in [
            ("/v1/keys", &[0][..]),
            ("/v1/keys/import", &[1]),
            ("/v1/keys/a", &[2, 3]),
            ("/v1/keys/important", &[2, 3]),
            // A key may be called so; its operations are none of the fixed path's.
            ("/v1/keys/import/sign", &[4]),
            ("/v1/keys/a/versions/7/public.pem", &[5]),
            ("/v1/secrets/a", &[6]),
            ("/v1/secrets/a:batch", &[7]),
            // Of an owner with no name.
            ("/v1/secrets/:batch", &[6]),
        ] {
            assert_eq!(tree.find(path), places, "{path}");
        }
        for path in [
            "",
            "/",
            "v1/keys",
            "/v1",
            "/v1/",
            "/v1/keys/",
            "//v1/keys",
            "/v1//keys",
            "/v1/keys/a/",
            "/V1/keys",
            "/v1/keys/a/sign/",
            "/v1/keys/a/b",
            "/v1/keys//sign",
            "/v1/keys/a/versions//public.pem",
        ] {
            assert_eq!(tree.find(path), &[] as &[usize], "{path}");
        }
    }

    proptest! {
        /// Whatever the name, the path that was made from a pattern leads back to it.
        #[test]
        fn a_name_changes_nothing(name in "[^/{}:]{1,40}") {
            let tree = Tree::new(PATTERNS.into_iter());
            for (place, pattern) in PATTERNS.into_iter().enumerate().filter(|(_, pattern)| pattern.contains('{')) {
                let path = pattern.replace("{name}", &name).replace("{version}", &name).replace("{owner}", &name);
                prop_assert!(tree.find(&path).contains(&place) || name == "import", "{path}");
            }
        }

        #[test]
        fn no_path_upsets_it(path in ".{0,200}") {
            let _found = Tree::new(PATTERNS.into_iter()).find(&path);
        }
    }
}
