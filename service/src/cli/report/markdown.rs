//! A report as Markdown (CommonMark with tables). What others have named is text, whatever it looks like.

use super::sections::Section;

pub(super) fn text(title: &str, sections: &[Section]) -> String {
    let mut text = format!("# {}\n", escaped(title));
    for section in sections {
        text.push_str(&format!("\n## {}\n", section.title));
        for said in &section.said {
            text.push_str(&format!("\n{}\n", escaped(said)));
        }
        if let Some(chart) = &section.chart {
            text.push_str(&format!("\n{}:\n\n", chart.caption));
            for bar in &chart.bars {
                let mark = if bar.is_bad { " **!**" } else { "" };
                text.push_str(&format!("- {}: {}{mark}\n", escaped(&bar.name), escaped(&bar.value)));
            }
        }
        if section.rows.is_empty() {
            continue;
        }
        text.push_str(&format!(
            "\n| {} |\n|{}\n",
            section.columns.join(" | "),
            "---|".repeat(section.columns.len())
        ));
        for row in &section.rows {
            let cells: Vec<String> = row.iter().map(|cell| escaped(cell)).collect();
            text.push_str(&format!("| {} |\n", cells.join(" | ")));
        }
    }
    text
}

/// Punctuation means itself; lines do not end; HTML is none.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\\' | '`' | '*' | '_' | '[' | ']' | '#' | '|' | '~' | '!' => {
                escaped.push('\\');
                escaped.push(letter);
            }
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            letter if letter.is_control() => escaped.push(' '),
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_text() {
        let row = vec!["<script>|x|\n# head".to_owned(), "[a](http://b)".to_owned()];
        let section = Section { title: "T", columns: vec!["a", "b"], rows: vec![row], ..Section::default() };
        let text = text("t", &[section]);
        assert!(text.contains(r"| &lt;script&gt;\|x\| \# head | \[a\](http://b) |"), "{text}");
        assert_eq!(text.lines().count(), 7, "{text}");
    }
}
