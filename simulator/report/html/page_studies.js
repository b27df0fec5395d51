export async function renderStudy(report, place) { return { changed() {} }; }
