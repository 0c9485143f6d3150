//! A report as one HTML file: nothing is fetched, no script runs, and what others have named is text, whatever it looks like.

use std::fmt::Write as _;

use super::sections::{Chart, Section};

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#1b1f24;background:#fff}\
table{border-collapse:collapse;width:100%;font-size:.85rem}th,td{border-bottom:1px solid #d0d7de;padding:.3rem .5rem;text-align:left;vertical-align:top;overflow-wrap:anywhere}\
th{background:#f6f8fa}figure{margin:1rem 0}figcaption{color:#57606a;font-size:.85rem}svg{max-width:100%;height:auto}\
@media print{body{margin:0}}";
/// Height of a bar with its gap, and the places of what stands beside it.
const ROW: usize = 22;
const NAME: usize = 220;
const BAR: f64 = 420.0;
const WIDTH: usize = 720;

pub(super) fn text(title: &str, sections: &[Section]) -> String {
    let mut text = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\
         <title>{0}</title><style>{STYLE}</style></head><body><h1>{0}</h1>\n",
        escaped(title)
    );
    for section in sections {
        // Writing to a text never fails.
        let _whole = write_section(&mut text, section);
    }
    text.push_str("</body></html>\n");
    text
}

fn write_section(text: &mut String, section: &Section) -> std::fmt::Result {
    writeln!(text, "<section><h2>{}</h2>", escaped(section.title))?;
    for said in &section.said {
        writeln!(text, "<p>{}</p>", escaped(said))?;
    }
    if let Some(chart) = section.chart.as_ref().filter(|chart| !chart.bars.is_empty()) {
        write_chart(text, chart)?;
    }
    if !section.rows.is_empty() {
        write!(text, "<table><thead><tr>")?;
        for column in &section.columns {
            write!(text, "<th scope=\"col\">{}</th>", escaped(column))?;
        }
        writeln!(text, "</tr></thead><tbody>")?;
        for row in &section.rows {
            let cells: String = row.iter().map(|cell| format!("<td>{}</td>", escaped(cell))).collect();
            writeln!(text, "<tr>{cells}</tr>")?;
        }
        writeln!(text, "</tbody></table>")?;
    }
    writeln!(text, "</section>")
}

fn write_chart(text: &mut String, chart: &Chart) -> std::fmt::Result {
    let height = chart.bars.len() * ROW + 4;
    writeln!(
        text,
        "<figure><figcaption>{0}</figcaption><svg role=\"img\" aria-label=\"{0}\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" font-size=\"12\">",
        escaped(chart.caption)
    )?;
    for (number, bar) in chart.bars.iter().enumerate() {
        let (top, width) = (number * ROW + 4, (bar.share.clamp(0.0, 1.0) * BAR).max(1.0));
        let colour = if bar.is_bad { "#cf222e" } else { "#0969da" };
        let (name_at, base, end) = (NAME - 8, top + 12, NAME as f64 + width + 6.0);
        writeln!(
            text,
            "<text x=\"{name_at}\" y=\"{base}\" text-anchor=\"end\">{}</text><rect x=\"{NAME}\" y=\"{top}\" width=\"{width:.1}\" height=\"15\" fill=\"{colour}\"/><text x=\"{end:.1}\" y=\"{base}\">{}</text>",
            escaped(&shortened(&bar.name)),
            escaped(&bar.value)
        )?;
    }
    writeln!(text, "</svg></figure>")
}

/// What fits beside a bar.
fn shortened(name: &str) -> String {
    const MOST: usize = 32;
    if name.chars().count() <= MOST {
        return name.to_owned();
    }
    name.chars().take(MOST - 1).chain(['…']).collect()
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            letter if letter.is_control() => escaped.push(' '),
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::{super::sections::Bar, *};

    #[test]
    fn names_are_text_and_bars_stay_within() {
        let hostile = "<script>alert(1)</script>\"'&\u{1b}";
        let bar = |share| Bar { name: hostile.to_owned(), share, value: hostile.to_owned(), is_bad: true };
        let chart = Chart { caption: "c", bars: vec![bar(2.8), bar(-1.0), bar(f64::NAN)] };
        let section = Section {
            title: "T",
            said: vec![hostile.to_owned()],
            chart: Some(chart),
            columns: vec!["a"],
            rows: vec![vec![hostile.to_owned()]],
        };
        let text = text(hostile, &[section]);
        assert!(!text.contains("<script") && !text.contains('\u{1b}') && !text.contains("\"'&"), "{text}");
        assert!(text.contains("width=\"420.0\"") && text.contains("width=\"1.0\""), "{text}");
        assert_eq!(shortened(&"x".repeat(40)).chars().count(), 32);
    }
}
