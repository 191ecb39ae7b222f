//! The page's plots: SVG in the page itself, coloured by its style sheet. Each bar says what it is when it is
//! pointed at. Knows numbers and words; nothing of what they mean.

use std::fmt::Write as _;

/// A colour of the page's style sheet, and the counts in it, the oldest first.
pub type Row<'a> = (&'a str, &'a str, Vec<u64>);

/// Bars on top of one another, one for each minute, with a scale; the last minute is that of `now`.
pub fn stacked(page: &mut String, rows: &[Row<'_>], now: u64) {
    let count = rows.iter().map(|(_, _, it)| it.len()).max().unwrap_or(0);
    let at = |row: &Row<'_>, at: usize| row.2.get(at).copied().unwrap_or(0);
    let sums = (0..count).map(|minute| rows.iter().map(|row| at(row, minute)).sum::<u64>());
    let top = round_up(sums.max().unwrap_or(0));
    let _ = write!(
        page,
        "<div class=\"plot\"><div class=\"y\"><span>{}</span><span>{}</span><span>0</span></div>\
         <svg viewBox=\"0 0 {} 100\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{} a minute, the last {count} minutes\">\
         <path class=\"grid\" d=\"M0 .5H{2}M0 50H{2}M0 99.5H{2}\"/>",
        short(top),
        short(top / 2),
        count * 10,
        rows.iter()
            .map(|(_, name, _)| *name)
            .collect::<Vec<_>>()
            .join(", ")
    );
    for minute in 0..count {
        let mut told = clock(now.saturating_sub((count - 1 - minute) as u64 * 60));
        let mut bars = String::new();
        let mut y = 100.0;
        for row in rows {
            let value = at(row, minute);
            let (colour, name, _) = row;
            if value > 0 {
                let height = (value as f64 / top as f64 * 100.0).max(1.5);
                y -= height;
                let _ = write!(
                    bars,
                    "<rect class=\"{colour}\" x=\"{}\" y=\"{y:.1}\" width=\"8\" height=\"{height:.1}\"/>",
                    minute * 10 + 1
                );
                let _ = write!(told, " · {} {name}", grouped(value));
            }
        }
        if !bars.is_empty() {
            let _ = write!(page, "<g><title>{told}</title>{bars}</g>");
        }
    }
    page.push_str("</svg><div class=\"x\">");
    for back in [60, 45, 30, 15, 0] {
        let _ = write!(
            page,
            "<span>{}</span>",
            clock(now.saturating_sub(back * 60))
        );
    }
    page.push_str("</div></div><div class=\"key\">");
    for (colour, name, counts) in rows {
        let _ = write!(
            page,
            "<span><i class=\"{colour}\"></i>{name} <b>{}</b></span>",
            grouped(counts.iter().sum())
        );
    }
    page.push_str("</div>");
}

/// Small bars, one for each minute; high against their own highest.
pub fn spark(page: &mut String, colour: &str, counts: &[u64], now: u64) {
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    let _ = write!(
        page,
        "<svg class=\"spark\" viewBox=\"0 0 {} 20\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{} in the last hour\"><path class=\"grid\" d=\"M0 19.5H{0}\"/>",
        counts.len() * 4,
        counts.iter().sum::<u64>()
    );
    for (at, value) in counts.iter().enumerate().filter(|(_, it)| **it > 0) {
        let height = (*value as f64 / most as f64 * 18.0).max(2.0);
        let _ = write!(
            page,
            "<rect class=\"{colour}\" x=\"{}\" y=\"{:.1}\" width=\"3\" height=\"{height:.1}\"><title>{} · {}</title></rect>",
            at * 4,
            20.0 - height,
            clock(now.saturating_sub((counts.len() - 1 - at) as u64 * 60)),
            grouped(*value)
        );
    }
    page.push_str("</svg>");
}

/// How much of `most` is reached.
pub fn meter(page: &mut String, colour: &str, value: u64, most: u64) {
    let share = (value.saturating_mul(100))
        .checked_div(most)
        .unwrap_or(100)
        .clamp(u64::from(value > 0), 100);
    let _ = write!(
        page,
        "<svg class=\"meter\" viewBox=\"0 0 100 6\" preserveAspectRatio=\"none\" aria-hidden=\"true\"><rect class=\"rest\" width=\"100\" height=\"6\"/><rect class=\"{colour}\" width=\"{share}\" height=\"6\"/></svg>"
    );
}

/// The end of a scale: an even number of one digit and zeroes.
fn round_up(most: u64) -> u64 {
    let mut step = 1_u64;
    while step.saturating_mul(10) <= most {
        step = step.saturating_mul(10);
    }
    [2, 4, 6, 8, 10]
        .into_iter()
        .map(|it| step.saturating_mul(it))
        .find(|it| *it >= most)
        .unwrap_or(most.max(1))
}

/// Thousands apart.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// A number that fits beside a plot.
fn short(number: u64) -> String {
    match number {
        0..10_000 => grouped(number),
        10_000..10_000_000 => format!("{} k", grouped(number / 1000)),
        _ => format!("{} M", grouped(number / 1_000_000)),
    }
}

/// Hours and minutes, UTC.
pub fn clock(seconds: u64) -> String {
    format!("{:02}:{:02}", seconds / 3600 % 24, seconds / 60 % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_ends_above_the_highest_bar() {
        for (most, top) in [
            (0, 2),
            (1, 2),
            (3, 4),
            (10, 20),
            (11, 20),
            (99, 100),
            (4100, 6000),
        ] {
            assert_eq!(round_up(most), top, "{most}");
        }
    }

    #[test]
    fn every_bar_says_its_minute_and_its_counts() {
        let mut page = String::new();
        stacked(
            &mut page,
            &[
                ("good", "granted", vec![0, 1500]),
                ("bad", "refused", vec![0, 2]),
            ],
            3600 * 13 + 60 * 7,
        );
        assert!(
            page.contains("<title>13:07 · 1\u{202f}500 granted · 2 refused</title>"),
            "{page}"
        );
        assert_eq!(page.matches("<g>").count(), 1);
    }
}
