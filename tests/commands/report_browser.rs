//! A page works in a browser, from a file, without a network: every plot shows all points of
//! the page's data, displays their values under the pointer and by keys, follows dark mode and a
//! narrow window, and logs no error.
//!
//! Without Chromium the tests are skipped with a note on standard error; in CI they fail. If `NPLUS1_SCREENSHOTS`
//! names a folder, a screenshot of each page is saved there.

use std::fs;
use std::path::Path;

use crate::support::browser::Browser;
use crate::support::pages::{make_all, workplace};
use serde_json::{Value, json};

/// A script that returns the number of points in each series of each plot.
const POINTS: &str = "Object.values(nplus1.plots).map(plot => plot.data.slice(1).map(ys => ys.filter(y => y != null).length))";
/// A script that returns the number of points in each series of the page's data.
const DATA_POINTS: &str = "nplus1.data.figures.map(figure => figure.series.map(series => series.y.filter(y => y != null).length))";
/// A script that returns whether every plot shows more than three colors.
const IS_DRAWN: &str = r#"Object.values(nplus1.plots).every(plot => {
    const canvas = plot.ctx.canvas;
    const pixels = plot.ctx.getImageData(0, 0, canvas.width, canvas.height).data;
    const seen = new Set();
    for (let at = 0; at < pixels.length; at += 4) if (pixels[at + 3] > 200) seen.add(pixels[at] + "," + pixels[at + 1] + "," + pixels[at + 2]);
    return canvas.width > 200 && seen.size > 3;
})"#;

/// A script that opens everything collapsed and returns what does not fit: a page wider than its
/// window, a table wider than its box, a clipped cell or legend entry, text outside a picture.
const MISFITS: &str = r#"(async () => {
    document.querySelectorAll("details").forEach(details => details.open = true);
    await new Promise(done => setTimeout(done, 150));
    const found = [];
    const page = document.scrollingElement.scrollWidth;
    if (page > innerWidth) found.push(`page: ${page} pixels`);
    for (const box of document.querySelectorAll(".scroll, .scroll table, th, td, .legend bdi, .highlights dd"))
        if (box.clientWidth > 0 && box.scrollWidth > box.clientWidth + 1)
            found.push(`${box.tagName} "${box.textContent.slice(0, 40)}": ${box.scrollWidth} in ${box.clientWidth}`);
    for (const svg of document.querySelectorAll("svg")) {
        const frame = svg.getBoundingClientRect();
        if (frame.width === 0) continue;
        for (const text of svg.querySelectorAll("text")) {
            const box = text.getBoundingClientRect();
            if (box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 1 || box.bottom > frame.bottom + 1)
                found.push(`text "${text.textContent}" of "${svg.querySelector("title").textContent.slice(0, 40)}"`);
        }
    }
    return found;
})()"#;

/// Checks that everything fits a wide and a narrow window, light and dark.
fn assert_fits(browser: &mut Browser, kind: &str) {
    for (width, dark) in [(1200, false), (1200, true), (400, false), (400, true)] {
        browser.emulate(width, 900, dark);
        let misfits = browser.evaluate(MISFITS);
        let scheme = if dark { "dark" } else { "light" };
        assert_eq!(misfits, json!([]), "{kind}, {width} pixels, {scheme}");
        browser.screenshot(&format!("{kind}-{width}-{scheme}"));
    }
    assert_eq!(
        browser.evaluate(IS_DRAWN),
        true,
        "{kind}: an empty plot in a narrow window"
    );
}

/// Checks that the page has logged nothing and requested nothing.
fn assert_quiet(browser: &mut Browser, kind: &str) {
    let complaints = browser.complaints();
    assert!(complaints.is_empty(), "{kind}: {complaints:?}");
    let requests = browser.requests();
    assert!(requests.is_empty(), "{kind}: {requests:?}");
}

#[test]
fn slow_every_kind_of_page_works() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let place = workplace();
    for (kind, page) in make_all(&place) {
        browser.emulate(1100, 900, false);
        browser.open(&page);
        browser.emulate(1100, 900, false);
        assert_eq!(
            browser.evaluate("document.querySelectorAll('h1').length"),
            1,
            "{kind}"
        );
        assert_eq!(
            browser.evaluate(POINTS),
            browser.evaluate(DATA_POINTS),
            "{kind}"
        );
        assert_eq!(browser.evaluate(IS_DRAWN), true, "{kind}: an empty plot");
        let plots = browser
            .evaluate("document.querySelectorAll('figure.plot :is(.u-wrap, .static.wide)').length");
        assert!(plots.as_u64().unwrap() > 0, "{kind}");
        assert_quiet(&mut browser, kind);

        // In dark mode the background changes and the plots are drawn again.
        let background = "getComputedStyle(document.body).backgroundColor";
        let light = browser.evaluate(background);
        browser.emulate(1100, 900, true);
        assert_ne!(browser.evaluate(background), light, "{kind}");
        assert_eq!(
            browser.evaluate(IS_DRAWN),
            true,
            "{kind}: an empty plot in the dark"
        );

        assert_fits(&mut browser, kind);
        assert_quiet(&mut browser, kind);
    }
}

#[test]
fn plots_show_the_values_of_the_files_and_respond_to_pointer_keys_and_buttons() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let place = workplace();
    crate::support::pages::make(&place, crate::support::pages::COMMANDS[0].1);
    let log = fs::read_to_string(place.path().join("run/metrics.jsonl")).unwrap();
    let records: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    browser.emulate(1100, 900, false);
    browser.open(&place.path().join("run/report.html"));

    // Move the pointer to the third epoch of the first plot.
    let at = browser.evaluate(
        "(() => { const plot = nplus1.plots['figure-1']; plot.root.scrollIntoView({ behavior: 'instant', block: 'center' }); const box = plot.over.getBoundingClientRect(); return [box.left + plot.valToPos(3, 'x'), box.top + 40]; })()",
    );
    let coordinate = |axis: usize| at[axis].as_f64().unwrap();
    // uPlot updates its position in a later frame, after the page has scrolled.
    browser.evaluate("new Promise(done => setTimeout(done, 300))");
    browser.point(coordinate(0) - 8.0, coordinate(1));
    browser.point(coordinate(0), coordinate(1));
    let shown = "[...document.querySelectorAll('#figure-1 .legend .value')].map(output => output.textContent)";
    let shown = browser.evaluate(shown);
    assert_eq!(
        shown,
        json!([
            records[2]["train_loss"].to_string(),
            records[2]["validation_loss"].to_string()
        ])
    );

    // Keys select a point, and its values are announced to screen readers.
    browser.evaluate("document.querySelector('#figure-2 .canvas').focus()");
    browser.press("ArrowRight");
    browser.press("ArrowRight");
    let announced =
        browser.evaluate("document.querySelector('#figure-2 output.where').textContent");
    let accuracy = records[1]["validation_accuracy"].to_string();
    assert!(
        announced.as_str().unwrap().contains(&accuracy),
        "{announced}, not {accuracy}"
    );

    // Hide and show a series, use a logarithmic axis, zoom and reset.
    let visible = "nplus1.plots['figure-1'].series.slice(1).map(series => series.show)";
    browser.evaluate("document.querySelector('#figure-1 .legend button').click()");
    assert_eq!(browser.evaluate(visible), json!([false, true]));
    browser.evaluate("document.querySelector('#figure-1 .legend button').click()");
    assert_eq!(browser.evaluate(visible), json!([true, true]));
    browser.evaluate("[...document.querySelectorAll('#figure-1 .tools button')].find(button => button.textContent === 'log y').click()");
    assert_eq!(
        browser.evaluate("nplus1.plots['figure-1'].scales.y.distr"),
        3
    );
    assert_eq!(browser.evaluate(IS_DRAWN), true);
    let width = "nplus1.plots['figure-1'].scales.x.max - nplus1.plots['figure-1'].scales.x.min";
    let whole = browser.evaluate(width).as_f64().unwrap();
    browser.evaluate("document.querySelector('#figure-1 .canvas').focus()");
    browser.press("+");
    assert!(browser.evaluate(width).as_f64().unwrap() < 0.6 * whole);
    browser.press("0");
    assert_eq!(browser.evaluate(width).as_f64().unwrap(), whole);
    assert_quiet(&mut browser, "run");
}

#[test]
fn pictures_and_numbers_can_be_saved_and_print_uses_the_static_picture() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let place = workplace();
    crate::support::pages::make(&place, crate::support::pages::COMMANDS[0].1);
    browser.open(&place.path().join("run/report.html"));
    browser.emulate(1100, 900, false);
    // Record what would be saved instead of saving it.
    browser.evaluate(
        "window.saved = []; window.made = URL.createObjectURL; \
         URL.createObjectURL = blob => { saved.push([blob.type, blob.size > 500]); return made(blob); }; \
         HTMLAnchorElement.prototype.click = () => {}; 0",
    );
    for (label, saved) in [
        ("SVG", json!([["image/svg+xml", true]])),
        ("PNG", json!([["image/svg+xml", true], ["image/png", true]])),
        ("CSV", json!([["text/csv", false]])),
    ] {
        browser.evaluate(&format!(
            "saved.length = 0; [...document.querySelectorAll('#figure-1 .tools button')].find(button => button.textContent === '{label}').click(); \
             new Promise(done => setTimeout(done, 500))"
        ));
        assert_eq!(browser.evaluate("saved"), saved, "{label}");
    }
    let shown = "['static', 'live'].map(name => getComputedStyle(document.querySelector('#figure-1 .' + name)).display !== 'none')";
    assert_eq!(browser.evaluate(shown), json!([false, true]));
    browser.call("Emulation.setEmulatedMedia", json!({"media": "print"}));
    assert_eq!(browser.evaluate(shown), json!([true, false]));
    assert_quiet(&mut browser, "saved");
}

#[test]
fn the_sliders_change_the_numbers() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let place = workplace();
    crate::support::pages::make(&place, "explain toy --html toy.html");
    browser.open(&place.path().join("toy.html"));
    let cells = "[...document.querySelectorAll('#toy-values tbody tr:first-child td')].slice(4, 8).map(cell => cell.textContent)";
    // b·σ(ax)·(1 − σ(ax))·x and σ(ax) at a = .7, b = 1.3, x = −.9.
    assert_eq!(
        browser.evaluate(cells),
        json!(["-0.265294", "6e-17", "0.347511", "0"])
    );
    browser.evaluate("(() => { const slider = document.getElementById('toy-x'); slider.value = 0; slider.dispatchEvent(new Event('input')); })()");
    assert_eq!(browser.evaluate(cells), json!(["0", "0", "0.5", "0"]));
    browser.evaluate("(() => { const slider = document.getElementById('toy-x'); slider.value = 1; slider.dispatchEvent(new Event('input')); const e = document.getElementById('toy-epsilon'); e.value = -1; e.dispatchEvent(new Event('input')); })()");
    // The quotient at ε = 0.1, computed here.
    let sigma = |p: f64| 1.0 / (1.0 + (-p).exp());
    let quotient = (1.3 * sigma(0.8) - 1.3 * sigma(0.7)) / 0.1;
    let shown = browser.evaluate(
        "document.querySelector('#toy-values tbody tr:nth-child(2) td:nth-of-type(5)').textContent",
    );
    let shown: f64 = shown.as_str().unwrap().parse().unwrap();
    assert!((shown - quotient).abs() < 1e-6, "{shown} {quotient}");
    assert_quiet(&mut browser, "toy");
}

#[test]
fn slow_a_study_of_a_hundred_thousand_points_opens_and_pans() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let place = workplace();
    crate::support::pages::make(&place, crate::support::pages::COMMANDS[0].1);
    lengthen(&place.path().join("run/metrics.jsonl"), 100_000);
    crate::support::pages::make(&place, "report run");
    browser.open(&place.path().join("run/report.html"));
    browser.emulate(1100, 900, false);
    assert_eq!(browser.evaluate(POINTS), browser.evaluate(DATA_POINTS));
    // The longest of forty frames of panning. In a page that does not pan smoothly it takes
    // seconds.
    let longest = browser.evaluate(
        r#"new Promise(done => {
            const plot = nplus1.plots["figure-1"];
            let [left, last, longest] = [40, performance.now(), 0];
            const frame = () => {
                const now = performance.now();
                longest = Math.max(longest, now - last);
                last = now;
                if (--left === 0) return done(longest);
                plot.setScale("x", { min: 1000 * (40 - left), max: 1000 * (40 - left) + 50000 });
                requestAnimationFrame(frame);
            };
            requestAnimationFrame(frame);
        })"#,
    );
    assert!(longest.as_f64().unwrap() < 2_000.0, "{longest} ms a frame");
    let text = browser.evaluate("document.body.textContent");
    assert!(text.as_str().unwrap().contains("of 200000 points"));
    assert_quiet(&mut browser, "long");
}

#[test]
fn hostile_names_are_text_in_a_browser_too() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let place = workplace();
    crate::support::pages::make(&place, crate::support::pages::COMMANDS[0].1);
    let name = "</script><script>window.taken = true</script><img src=x onerror=\"window.taken = true\">\u{202e}\u{1}";
    let file = place.path().join("run/evaluation.json");
    let mut evaluation: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    evaluation["classes"][3]["name"] = json!(name);
    evaluation["part"] = json!(name);
    fs::write(&file, evaluation.to_string()).unwrap();
    let file = place.path().join("run/summary.json");
    let mut summary: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    summary["run"] = json!(name);
    fs::write(&file, summary.to_string()).unwrap();
    crate::support::pages::make(&place, "train flowers.toml --out other");
    crate::support::pages::make(&place, "report run other -o both.html");
    browser.open(&place.path().join("both.html"));
    assert_eq!(browser.evaluate("window.taken === undefined"), true);
    // The series of two runs are labeled with the runs' names.
    let label = browser.evaluate("document.querySelector('#figure-2 .legend bdi').textContent");
    assert_eq!(label, name);
    let head = browser.evaluate(
        "[...document.querySelectorAll('.confusion thead th')].map(cell => cell.textContent)[3]",
    );
    assert!(head.as_str().unwrap().starts_with("</script><script>"));
    assert_eq!(browser.evaluate("document.images.length > 0 && [...document.images].every(image => image.src.startsWith('data:'))"), true);
    assert_quiet(&mut browser, "hostile");
}

/// Replaces the log of a run by `epochs` epochs.
fn lengthen(log: &Path, epochs: usize) {
    let text = fs::read_to_string(log).unwrap();
    let record: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let mut lines = String::new();
    for epoch in 1..=epochs {
        let mut record = record.clone();
        record["epoch"] = epoch.into();
        record["train_loss"] = json!((epoch as f64 * 0.01).sin().abs() + 0.1);
        lines += &format!("{record}\n");
    }
    fs::write(log, lines).unwrap();
}
