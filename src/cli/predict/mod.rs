//! `nplus1 predict`: asks a trained model about the rows of a file or a stream.
//!
//! Rows are answered in parts, which the workers read and compute independently: the answers do not
//! depend on how many there are. A stream is answered row by row.

mod answers;
mod formats;

use std::io::Write;
use std::path::Path;

use serde_json::json;

use self::answers::{Answers, Columns};
use self::formats::{Format, Writer};
use super::arguments::{Global, PredictArguments};
use super::inputs::{check_folder, load_model};
use super::output::{Messages, print};
use crate::api::Predictor;
use crate::data::UnlabeledRows;
use crate::data::csv::RowStream;
use crate::error::{Error, InputError, Result};
use crate::format::Model;
use crate::format::file::write_atomically;
use crate::parallel::Workers;
use crate::run::json;

/// Rows of a part.
const PART: usize = 2048;

/// Parts for each worker that are computed before their answers are written.
const PARTS_PER_WORKER: usize = 4;

/// Name of standard input in messages.
const STDIN: &str = "standard input";

/// Answers as the arguments say.
///
/// # Errors
/// A model or an input that is refused, or that do not fit together; an output that cannot be
/// written, of which then nothing is left.
pub fn run(
    arguments: &PredictArguments,
    global: &Global,
    messages: Messages,
    out: &mut dyn Write,
) -> Result<()> {
    let format = Format::of(arguments.output.as_deref(), global.json)?;
    if let Some(output) = &arguments.output {
        check_folder(output)?;
    }
    let (file, model) = load_model(&arguments.model, messages)?;
    let predictor = Predictor::new(&model);
    if arguments.probabilities && model.is_regression() {
        return Err(InputError::OtherTask(
            "the model predicts numbers, which have no probabilities\n  help: leave out `--probabilities`",
        )
        .into());
    }
    if arguments.probabilities && !predictor.has_probabilities() {
        return Err(InputError::NoProbabilities.into());
    }
    let columns = Columns::new(&model, arguments.probabilities);
    let asking = Asking {
        predictor: &predictor,
        model: &model,
        file: &file,
        messages,
    };
    let is_stream = arguments.input == Path::new("-");
    if is_stream && format == Format::Csv && arguments.output.is_none() {
        return asking.stream(&columns, out);
    }
    let mut writer = Writer::new(format, &columns);
    if is_stream {
        asking.collect(&columns, &mut writer)?;
    } else if arguments.output.is_none() && format == Format::Csv {
        asking.file(&arguments.input, &columns, &mut writer, Some(&mut *out))?;
    } else {
        asking.file(&arguments.input, &columns, &mut writer, None)?;
    }
    let rows = writer.rows();
    let bytes = writer.finish();
    match &arguments.output {
        Some(output) => {
            write_atomically(output, &bytes)?;
            if global.json {
                let document = json!({ "file": output.display().to_string(), "rows": rows });
                return print(out, &json::document(&document));
            }
            messages.note(format_args!("wrote {rows} rows to {}", output.display()));
            Ok(())
        }
        None => print(out, &String::from_utf8_lossy(&bytes)),
    }
}

/// A model that is asked.
struct Asking<'a> {
    predictor: &'a Predictor<'a>,
    model: &'a Model,
    file: &'a Path,
    messages: Messages,
}

impl Asking<'_> {
    /// Answers all rows of a file or a folder; writes finished parts to `screen`, if there is one.
    fn file(
        &self,
        path: &Path,
        columns: &Columns,
        writer: &mut Writer,
        mut screen: Option<&mut (dyn Write + '_)>,
    ) -> Result<()> {
        let rows = UnlabeledRows::open(path, &self.model.expected(self.file))?;
        rows.notes.iter().for_each(|note| self.messages.note(note));
        if rows.names.is_some() {
            writer.name_rows("file");
        }
        let count = rows.rows();
        let workers = Workers::shared()?;
        let group = PART * PARTS_PER_WORKER * workers.threads();
        for start in (0..count).step_by(group) {
            let end = count.min(start + group);
            let parts = (end - start).div_ceil(PART);
            let answers = workers.map(parts, |part| -> Result<Answers> {
                let first = start + part * PART;
                let range = first..end.min(first + PART);
                let outputs = self.predictor.outputs(rows.part(range)?)?;
                Ok(columns.answers(self.predictor, &outputs))
            });
            let mut row = start;
            for answers in answers {
                let answers = answers?;
                let names = rows.names.as_ref();
                let names = names.map(|names| &names[row..row + answers.rows()]);
                writer.append(&answers, names);
                row += answers.rows();
            }
            if let Some(screen) = &mut screen {
                print(*screen, &String::from_utf8_lossy(&writer.take()))?;
            }
        }
        Ok(())
    }

    /// Answers each row of standard input as soon as its line has ended.
    fn stream(&self, columns: &Columns, out: &mut dyn Write) -> Result<()> {
        let mut writer = Writer::new(Format::Csv, columns);
        let mut is_first = true;
        self.each_row(
            |has_header, answers| {
                if is_first && !has_header {
                    writer.leave_out_header();
                }
                is_first = false;
                writer.append(answers, None);
                print(out, &String::from_utf8_lossy(&writer.take()))
            },
            columns,
        )
    }

    /// Answers all rows of standard input.
    fn collect(&self, columns: &Columns, writer: &mut Writer) -> Result<()> {
        self.each_row(
            |_, answers| {
                writer.append(answers, None);
                Ok(())
            },
            columns,
        )
    }

    fn each_row(
        &self,
        mut answer: impl FnMut(bool, &Answers) -> Result<()>,
        columns: &Columns,
    ) -> Result<()> {
        let expected = self.model.expected(self.file);
        let path = Path::new(STDIN);
        let mut rows = RowStream::new(Box::new(std::io::stdin()), path, &expected)?;
        rows.notes()
            .iter()
            .for_each(|note| self.messages.note(note));
        let has_header = rows.has_header();
        let mut is_empty = true;
        while let Some(features) = rows.next()? {
            let outputs = self.predictor.outputs(features)?;
            answer(has_header, &columns.answers(self.predictor, &outputs))?;
            is_empty = false;
        }
        if is_empty {
            return Err(Error::refused(path, "a header, but no rows"));
        }
        Ok(())
    }
}
