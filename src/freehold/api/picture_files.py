"""`GET /v1/images/files/{id}`: a picture by its signed address, which is its only credential."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from freehold.gateway.picture_files import PATH, PictureFiles


def picture_routes(files: PictureFiles) -> list[BaseRoute]:
    """The route. A wrong address and one that has ended are a 404 alike."""

    async def download(request: Request) -> Response:
        query = request.query_params
        found = await files.find(request.path_params["picture"], query.get("exp", ""), query.get("sig", ""))
        headers = {
            "cache-control": f"private, max-age={found.left_s}, immutable",
            "content-security-policy": "default-src 'none'; sandbox",
            "x-content-type-options": "nosniff",
        }
        return Response(found.data, media_type=found.media_type, headers=headers)

    return [Route(f"{PATH}/{{picture}}", download, methods=["GET"])]
