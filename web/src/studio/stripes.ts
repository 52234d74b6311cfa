/** Stripes to mark parts of a picture with: opaque, in two colours of the design, as wide as suits the picture. */

/** The stripes; one colour where the browser makes no patterns. */
export function stripesOn(canvas: HTMLCanvasElement, surface: CanvasRenderingContext2D): CanvasPattern | string {
  const { color, outlineColor } = getComputedStyle(canvas);
  const side = 2 * Math.max(4, Math.round(Math.min(canvas.width, canvas.height) / 80));
  const tile = document.createElement('canvas');
  tile.width = tile.height = side;
  const on = tile.getContext('2d');
  if (on === null) return color;
  on.fillStyle = outlineColor;
  on.fillRect(0, 0, side, side);
  on.strokeStyle = color;
  on.lineWidth = side * 0.45;
  on.beginPath();
  // Three parallels, so that the tile goes on beyond its edges.
  for (const shift of [-side, 0, side]) {
    on.moveTo(shift - side, side * 2);
    on.lineTo(shift + side * 2, -side);
  }
  on.stroke();
  return surface.createPattern(tile, 'repeat') ?? color;
}
