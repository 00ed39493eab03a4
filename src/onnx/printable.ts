/** Text from a file for a message: it may be anything, and must not break the line, move the cursor or fill the screen. */
export function printable(text: string): string {
  const short = text.length > 400 ? `${text.slice(0, 400)}...` : text
  return short.replaceAll(
    /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu,
    (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`,
  )
}
