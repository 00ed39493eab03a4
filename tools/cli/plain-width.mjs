/**
 * Stands for the package `string-width` in the bundle: the columns that a text takes on a terminal. Every text of the command line is
 * plain ASCII; the package knows all of Unicode, and loading its tables takes longer than parsing the command line.
 */
export default function plainWidth(text) {
  return text.length
}
